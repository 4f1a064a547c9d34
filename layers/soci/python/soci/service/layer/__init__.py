"""The function index_layer: one layer to its zTOC."""
