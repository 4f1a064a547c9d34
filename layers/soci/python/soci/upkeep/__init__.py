"""Look after indexes: list them, wait for them, check tasks, and remove indexes and their remains."""
