"""Values that the agent keeps by name, for the party whom it works for now; and a stronger tier, where it needs one.

get(key), put(key, value), forget(key), keys()   they outlive the sandbox and the node
need("files" | "kernel" | "machine")             begin this message again with stronger walls, where that is granted
"""

from __future__ import annotations

import contextlib
import json
from http.client import HTTPConnection, HTTPException
from urllib.parse import quote

from hive_guest.api import gate_address, turn
from hive_guest.tools import gate_headers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

ANSWER_MAX_BYTES: Final = 1 << 20
TIMEOUT_S: Final = 60.0


class KeptValueError(Exception):
    """A value could not be kept or read."""


class TierError(Exception):
    """This turn may not move up, or cannot."""


def get(key: str) -> bytes | None:
    """Return a value, None where there is none. Raises KeptValueError."""
    status, body = _asked("GET", f"values/{quote(key, safe='')}")
    return None if status == 404 else _good(status, body, KeptValueError)


def put(key: str, value: bytes | str) -> None:
    """Keep a value, whatever was there. Raises KeptValueError."""
    data = value.encode() if isinstance(value, str) else bytes(value)
    _good(*_asked("PUT", f"values/{quote(key, safe='')}", data), KeptValueError)


def forget(key: str) -> None:
    """Forget a value; one that is not there is no error. Raises KeptValueError."""
    _good(*_asked("DELETE", f"values/{quote(key, safe='')}"), KeptValueError)


def keys() -> list[str]:
    """Return the names of all values, in order. Raises KeptValueError."""
    found = json.loads(_good(*_asked("GET", "values"), KeptValueError))
    return [str(one) for one in found]


def need(what: str) -> None:
    """Return where this sandbox has what is asked for; else the turn begins again in a stronger tier.

    Raises:
        TierError: it may not move up, or this machine has no such tier.

    """
    _good(*_asked("POST", "tier", json.dumps({"what": what}).encode()), TierError)


def _asked(method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
    headers = gate_headers()
    with contextlib.suppress(RuntimeError):
        headers["traceparent"] = turn().traceparent
    connection = HTTPConnection(*gate_address(), timeout=TIMEOUT_S)
    try:
        connection.request(method, f"/own/{path}", body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read(ANSWER_MAX_BYTES)
    except (OSError, HTTPException) as error:
        return 503, f"the node did not answer: {type(error).__name__}".encode()
    finally:
        connection.close()


def _good(status: int, body: bytes, error: type[Exception]) -> bytes:
    if status < 300 and status != 202:
        return body
    text = body.decode("utf-8", "replace")
    with contextlib.suppress(ValueError, KeyError, TypeError):
        text = str(json.loads(text)["error"]["what"])
    raise error(text if status != 202 else "this turn goes on in a stronger tier")
