"""OCI and Docker documents as values: pure, no file and no socket."""
