"""JSON of strangers that is signed: read so that two readers cannot see two documents.

RFC 8259 leaves open which of two equal keys counts. A statement that says `"version"` twice would show one to a person
and another to a machine, so it is refused, and so are NaN and numbers that are none.
"""

import json
from typing import Final, NoReturn

from hive.core.errors import SupplyError
from hive.core.json import Json, depth_exceeds

DOCUMENT_MAX_BYTES: Final = 16 << 20
DEPTH_MAX: Final = 32


def decode_strict(data: bytes, *, what: str) -> Json:
    """Read a document in which no key stands twice.

    Raises:
        SupplyError: it is none; the message calls it `what`.

    """
    if len(data) > DOCUMENT_MAX_BYTES or depth_exceeds(data, DEPTH_MAX):
        raise malformed(what, "It is too large or nested too deeply.")
    try:
        value: Json = json.loads(
            data.decode("utf-8"), object_pairs_hook=_each_once, parse_constant=_no_constant
        )
    except (ValueError, RecursionError) as error:
        raise malformed(what, str(error)[:200]) from error
    return value


def malformed(what: str, why: str) -> SupplyError:
    """Return the error for a document that cannot be read."""
    return SupplyError(
        f"{what} cannot be read.", why=why, fix="Sign it again: hive agent sign SOURCE"
    )


def _each_once(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found: dict[str, Json] = {}
    for key, value in pairs:
        if key in found:
            message = f"the key {key[:60]!r} stands twice"
            raise ValueError(message)
        found[key] = value
    return found


def _no_constant(name: str) -> NoReturn:
    message = f"{name} is no JSON"
    raise ValueError(message)
