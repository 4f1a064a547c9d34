"""What there is of indexes, what is left over, what a task would do, and how an index is taken away."""
