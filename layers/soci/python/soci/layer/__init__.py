"""From a layer's bytes to checkpoints, span digests and tar entries: `feed`, `finish`; no file, no socket."""
