"""Randomness as a dependency, so that a run can be repeated; the system's source is the default."""

import secrets
from typing import Protocol


class Randomness(Protocol):
    """Give unguessable bytes."""

    def token(self, size_bytes: int) -> bytes:
        """Return `size_bytes` fresh random bytes."""
        ...


class SystemRandomness:
    """The operating system's cryptographic source."""

    def token(self, size_bytes: int) -> bytes:
        """Return `size_bytes` fresh random bytes."""
        return secrets.token_bytes(size_bytes)
