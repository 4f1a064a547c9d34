"""The zTOC: a layer's table of contents and checkpoints, its wire format, and the rules of its readers."""
