"""Measures the engine and the CLI on layers made of real packages: `make bench`."""
