"""The whole system on one machine: a sample image and the demonstration."""
