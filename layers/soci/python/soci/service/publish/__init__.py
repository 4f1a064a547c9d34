"""The function publish_index: what the layers of an image add up to, pushed, read back, tagged."""
