"""What an agent's card says about Noise: the parameters of the extension, read and written.

They stand in `capabilities.extensions[].params` of the card, under the card's signature. A parameter that
is not known here is refused: what changes their meaning gets a URI of its own.
"""

import re
from binascii import Error as Base64Error
from dataclasses import dataclass
from typing import Final

from hive_a2a.base64url import from_base64url, to_base64url
from hive_a2a.call import Proto
from hive_a2a.crypto import KEY_BYTES
from hive_a2a.errors import SealError
from hive_a2a.noise.cipher import WIRE_SUITES

NOISE_URI: Final = "urn:hive-a2a:noise:1"
HANDSHAKE_PATH: Final = "/.well-known/a2a-noise"
HYBRID: Final = "ML-KEM-768"
_PATH: Final = re.compile(r"/(?!/)[A-Za-z0-9/._~-]{0,255}")
_NAMES: Final = frozenset({"suites", "staticKey", "epoch", "handshakePath", "hybrid"})
_EPOCH_MAX: Final = 2**53 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseParams:
    """The parameters of the extension in a card.

    Without `static_key` a client learns the key in the handshake (XX) and must know it otherwise.
    `epoch` rises with each change of the key. `handshake_path` is a path at the origin of the
    interface. `hybrid`: the experimental handshake with ML-KEM-768 is offered beside the plain one.
    """

    suites: tuple[str, ...] = WIRE_SUITES
    static_key: bytes | None = None
    epoch: int = 1
    handshake_path: str = HANDSHAKE_PATH
    hybrid: bool = False
    required: bool = False


def put_noise(card: Proto, params: NoiseParams) -> None:
    """Write the extension into an `AgentCard`, in the place of what it said before. Sign after it."""
    kept = [one for one in card.capabilities.extensions if one.uri != NOISE_URI]
    del card.capabilities.extensions[:]
    card.capabilities.extensions.extend(kept)
    extension = card.capabilities.extensions.add(
        uri=NOISE_URI, description="Requests are sealed end to end.", required=params.required
    )
    document: dict[str, object] = {
        "suites": list(params.suites),
        "epoch": params.epoch,
        "handshakePath": params.handshake_path,
    }
    if params.static_key is not None:
        document["staticKey"] = to_base64url(params.static_key).decode()
    if params.hybrid:
        document["hybrid"] = HYBRID
    extension.params.update(document)


def noise_of(card: Proto) -> NoiseParams | None:
    """Read the extension of an `AgentCard`; None where it has none.

    Raises:
        SealError: what stands there is not what this extension wants.

    """
    found = [one for one in card.capabilities.extensions if one.uri == NOISE_URI]
    if not found:
        return None
    if len(found) > 1:
        raise _bad("The extension stands in it more than once.")
    from google.protobuf.json_format import Error, MessageToDict

    try:
        document = MessageToDict(found[0].params)
    except (Error, ValueError):  # a number that JSON does not have
        raise _bad("The parameters are no JSON.") from None
    if unknown := set(document) - _NAMES:
        raise _bad(f"Unknown parameters: {len(unknown)}.")
    suites = document.get("suites")
    if not isinstance(suites, list) or not all(isinstance(one, str) for one in suites):
        raise _bad("`suites` is not a list of names.")
    return NoiseParams(
        suites=tuple(suites),
        static_key=_key(document.get("staticKey")),
        epoch=_epoch(document.get("epoch")),
        handshake_path=_path(document.get("handshakePath", HANDSHAKE_PATH)),
        hybrid=document.get("hybrid") == HYBRID,
        required=found[0].required,
    )


def chosen_suite(params: NoiseParams) -> str:
    """Return the suite to speak with this peer: the first of its own order that is known here.

    Raises:
        SealError: there is none.

    """
    for one in params.suites:
        if one in WIRE_SUITES:
            return one
    raise _bad("It lists no suite that is spoken here.")


def _key(text: object) -> bytes | None:
    if text is None:
        return None
    if not isinstance(text, str):
        raise _bad("`staticKey` is not a text.")
    try:
        key = from_base64url(text.encode())
    except Base64Error:
        raise _bad("`staticKey` is not base64url.") from None
    if len(key) != KEY_BYTES:
        raise _bad(f"`staticKey` has not {KEY_BYTES} bytes.")
    return key


def _epoch(number: object) -> int:
    if not isinstance(number, int | float) or number != int(number):
        raise _bad("`epoch` is not a whole number.")
    if not 0 <= number <= _EPOCH_MAX:
        raise _bad("`epoch` is out of range.")
    return int(number)


def _path(text: object) -> str:
    if not isinstance(text, str) or _PATH.fullmatch(text) is None or ".." in text:
        raise _bad("`handshakePath` is not a plain path.")
    return text


def _bad(why: str) -> SealError:
    return SealError(
        "The card's Noise extension is not valid.",
        why=why,
        fix="Ask the owner of the agent to serve it by the extension's specification.",
    )
