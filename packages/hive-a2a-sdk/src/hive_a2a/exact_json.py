"""JSON that two readers cannot read differently: each member once, no number that JSON does not have.

Half of a surrogate pair is no Unicode either, and breaks protobuf in ways of its own. This is the exact, slow
reader, for tokens, cards and key sets; that of requests is `wire.strict_json`.
"""

import json
from typing import Any, Final, NoReturn


class RepeatedMemberError(ValueError):
    """One object has a member twice."""


def read_exact(data: bytes) -> Any:  # noqa: ANN401 - JSON
    """Read one JSON value in UTF-8.

    Raises:
        ValueError: it is not JSON, or has two meanings.

    """
    text = data.decode()
    try:
        value = EXACT.decode(text)
    except RecursionError:
        raise ValueError("it nests too deep") from None
    if "\\u" in text:
        json.dumps(value, ensure_ascii=False).encode()
    return value


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise RepeatedMemberError("a member is said twice")
    return members


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)


EXACT: Final = json.JSONDecoder(object_pairs_hook=_each_once, parse_constant=_no_constant)
