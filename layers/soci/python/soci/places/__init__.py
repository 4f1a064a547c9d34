"""Places that hold images: the ports, and the layouts, archives and registries that implement them."""
