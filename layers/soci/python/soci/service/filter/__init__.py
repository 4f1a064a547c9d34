"""The function image_filter: is an image ours to index, and which of its layers."""
