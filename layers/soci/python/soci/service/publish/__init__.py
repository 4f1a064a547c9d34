"""The function publish_index: it makes an image's documents, pushes them, reads them back and sets the tag."""
