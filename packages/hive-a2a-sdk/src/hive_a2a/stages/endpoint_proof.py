"""A warrant shown at an endpoint that is not A2A's, such as one of MCP: a proof for one request to one URL.

The proof names the URL, the moment and a nonce, as DPoP does (RFC 9449), and not the body: whoever reads a request on its way can use
its proof once at most, at that URL, and only instead of the holder.
"""

from typing import Final

from hive_a2a.clock import MachineClock, WallClock
from hive_a2a.errors import needs_extra
from hive_a2a.stages.tenuo_warrants import STANDING_ARGUMENTS, HeldWarrant, WarrantError
from hive_a2a.stages.warrant import (
    NONCE_BYTES,
    PROOF_HEADER,
    WARRANT_HEADER,
    Argument,
    Proof,
    WarrantQuestion,
)

with needs_extra("warrants", "tenuo", "tenuo_core"):
    import tenuo_core  # type: ignore[import-untyped]

TOOL: Final = "a2a.SendMessage"
"""What a warrant that may be shown at a door of agents always names."""
METHOD: Final = "endpoint"


def endpoint_headers(
    held: HeldWarrant,
    *,
    holder_private: bytes,
    url: str,
    nonce: bytes,
    clock: WallClock | None = None,
) -> dict[str, str]:
    """Return the headers of one request: the warrant, and a proof for this URL and moment.

    `nonce` are 16 fresh random bytes; a second request needs a second proof.

    Raises:
        WarrantError: the nonce has another length.

    """
    if len(nonce) != NONCE_BYTES:
        raise WarrantError(f"A nonce has {NONCE_BYTES} bytes.", why=f"This one has {len(nonce)}.")
    made_at = int((clock or MachineClock()).now().timestamp())
    key = tenuo_core.SigningKey.from_bytes(holder_private)
    signature = bytes(held.leaf.sign(key, TOOL, _bound(url, nonce, made_at), made_at))
    proof = Proof(made_at=made_at, nonce=nonce, signature=signature)
    return {WARRANT_HEADER: held.header(), PROOF_HEADER: proof.header()}


def endpoint_question(chain: str, proof: Proof, url: str) -> WarrantQuestion:
    """Return what an engine is asked of a warrant that was shown with such a proof."""
    arguments: dict[str, Argument] = dict.fromkeys(STANDING_ARGUMENTS, "")
    arguments |= {"agent": url, "method": METHOD, "parts": 0, "text_bytes": 0, "file_bytes": 0}
    return WarrantQuestion(
        chain=chain,
        proof=proof,
        tool=TOOL,
        arguments=arguments,
        bound=_bound(url, proof.nonce, proof.made_at),
    )


def _bound(url: str, nonce: bytes, made_at: int) -> dict[str, Argument]:
    return {
        "audience": url,
        "made_at": str(made_at),
        "method": METHOD,
        "nonce": nonce.hex(),
        "request": "",
    }
