"""The command `soci-index`, for people at a terminal and for scripts."""
