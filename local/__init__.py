"""The whole system on one machine: a registry, AWS services, a sample image and the demonstration."""
