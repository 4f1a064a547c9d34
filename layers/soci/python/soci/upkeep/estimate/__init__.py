"""What indexing costs: one image, and a month of pushes."""
