"""The engines layer."""
