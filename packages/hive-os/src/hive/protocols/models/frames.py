"""An answer as frames: the first holds status and headers, the others the body as it came.

This is what the record keeps, so a re-run's client reads the same bytes as the first one.
"""

import msgspec

from hive.core.errors import BadInputError
from hive.core.json import encode
from hive.protocols.models.ports import ModelHead


class _HeadFrame(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    status: int
    headers: tuple[tuple[str, str], ...]


def head_frame(head: ModelHead) -> bytes:
    """Write the first frame."""
    return encode({"status": head.status, "headers": [list(pair) for pair in head.headers]})


def read_head_frame(frame: bytes) -> ModelHead:
    """Read the first frame.

    Raises:
        BadInputError: it is not one.

    """
    try:
        parsed = msgspec.json.decode(frame, type=_HeadFrame)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BadInputError(
            "The recorded answer of a model cannot be read.",
            why="Its first frame does not hold a status and headers.",
            fix="Run `hive audit verify`.",
        ) from error
    return ModelHead(status=parsed.status, headers=parsed.headers)
