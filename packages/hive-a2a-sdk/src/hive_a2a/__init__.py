"""Secure A2A: a wrap of the official a2a-sdk, and the cryptographic primitives that Hive uses."""
