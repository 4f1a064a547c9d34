"""The state of the index of each image in a repository, found from documents only."""
