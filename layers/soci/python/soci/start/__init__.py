"""The start of a container: what it reads, in order, and what follows from that."""
