"""What can go wrong in Noise.

NoiseError                a message does not open, comes out of turn, or a key is not valid
├── SessionSpentError     this session has ended: shake hands again, once
└── ReplayedError         a message was opened before, or is too old to tell
"""

from hive_a2a.errors import A2AError


class NoiseError(A2AError):
    """A message does not open, comes out of turn, or a key is not valid. Nothing of it was kept."""


class SessionSpentError(NoiseError):
    """This session has ended, by its age, its count or because it was closed: shake hands again, once."""


class ReplayedError(NoiseError):
    """A message was opened before, or is so old that nobody can tell any more."""
