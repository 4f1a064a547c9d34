"""What there is of indexes in a repository: for each image its state, told from its documents alone."""
