"""From a layer's bytes to checkpoints, span digests and tar entries: `feed` and `finish`, no file, no socket."""
