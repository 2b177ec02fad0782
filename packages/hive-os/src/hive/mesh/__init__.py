"""The mesh layer."""
