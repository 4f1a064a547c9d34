"""The command `soci-index`: the recipes of the core, for a person at a terminal and for scripts."""
