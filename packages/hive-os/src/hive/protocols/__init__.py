"""The protocols layer."""
