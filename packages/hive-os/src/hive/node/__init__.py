"""The node layer."""
