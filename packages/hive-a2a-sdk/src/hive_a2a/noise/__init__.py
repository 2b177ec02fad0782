"""Noise, revision 34, on `cryptography` alone: handshakes, and sessions for texts that arrive in any order.

| module | |
|---|---|
| `cipher` | the suites, and what they are made of |
| `patterns`, `handshake` | IK, XX and their kin |
| `hybrid` | experimental: ML-KEM-768 mixed in |
| `prologue` | what both sides must agree on before |
| `session`, `window`, `frame` | sealing under explicit numbers, replay, rekey |
| `store` | the bounded tables of a server |
| `errors` | what can go wrong |
"""

from hive_a2a.noise.cipher import AES, CHACHA, WIRE_SUITES, CipherSuite, wire_suite
from hive_a2a.noise.errors import NoiseError, ReplayedError, SessionSpentError
from hive_a2a.noise.frame import SealedFrame, decode_frame, encode_frame
from hive_a2a.noise.handshake import Handshake
from hive_a2a.noise.hybrid import AnyHandshake, HybridHandshake
from hive_a2a.noise.prologue import prologue
from hive_a2a.noise.session import NoiseSession, SealedText, Session, SessionLimits
from hive_a2a.noise.store import SessionStore, StoreLimits

__all__ = (
    "AES",
    "CHACHA",
    "WIRE_SUITES",
    "AnyHandshake",
    "CipherSuite",
    "Handshake",
    "HybridHandshake",
    "NoiseError",
    "NoiseSession",
    "ReplayedError",
    "SealedFrame",
    "SealedText",
    "Session",
    "SessionLimits",
    "SessionSpentError",
    "SessionStore",
    "StoreLimits",
    "decode_frame",
    "encode_frame",
    "prologue",
    "wire_suite",
)
