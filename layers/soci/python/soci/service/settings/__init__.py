"""The settings document of the deployed service."""
