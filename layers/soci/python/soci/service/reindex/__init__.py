"""The function image_lister: lists the images of many repositories, page by page."""
