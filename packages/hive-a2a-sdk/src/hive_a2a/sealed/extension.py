"""The names of the Noise extension on the wire: media types, headers, paths, keys of a scope."""

from typing import Final

SEALED_TYPE: Final = "application/a2a-noise"
HANDSHAKE_TYPE: Final = "application/a2a-noise-handshake"
ERROR_TYPE: Final = "application/a2a-noise-error"
SEAL_HEADER: Final = "a2a-noise"
ERROR_METADATA: Final = "a2a-noise-error"
TLS_ID_HEADER: Final = "a2a-tls-id"
"""Inside a sealed request: the SPIFFE id that its sender shows in TLS. Another id is that of a carrier."""
GRPC_HANDSHAKE: Final = "/hive_a2a.noise.v1.Noise/Handshake"
NOISE_SCOPE: Final = "hive_a2a.noise"
"""Where an ASGI scope holds (initiator's static key, handshake hash) of a sealed request."""
PUBLIC_PATHS: Final = (
    "/.well-known/agent-card.json",
    "/.well-known/agent.json",
    "/.well-known/jwks.json",
)
"""What everybody may read in the clear, since nothing can be sealed before it was read."""
