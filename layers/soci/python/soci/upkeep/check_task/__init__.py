"""Whether the containers of an ECS task definition would be loaded lazily, and if not, why."""
