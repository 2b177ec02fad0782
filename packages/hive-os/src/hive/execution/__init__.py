"""The execution layer."""
