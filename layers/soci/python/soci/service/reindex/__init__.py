"""The function image_lister: the images of many repositories, page by page."""
