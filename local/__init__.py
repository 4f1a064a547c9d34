"""The whole system on one machine: a registry, a sample image and the demonstration. Nothing is deployed."""
