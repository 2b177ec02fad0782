"""What the head of a request says, before its body is read; a handle in the query is taken out of it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote_plus

from starlette.types import Scope

HANDLE_HEADERS: Final = ("x-api-key", "x-goog-api-key")
TWO_KEYS: Final = "?"
_TRACEPARENT: Final = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpHead:
    """What the head of a request says. `query` never holds the client's key: that is `query_key`."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str] = field(repr=False)
    query_key: str = field(default="", repr=False)

    @classmethod
    def of(cls, scope: Scope) -> "HttpHead":
        """Read an ASGI scope; a header that stands twice is joined as HTTP says."""
        headers: dict[str, str] = {}
        for raw_key, raw_value in scope["headers"]:
            key, value = raw_key.decode("latin-1").lower(), raw_value.decode("latin-1")
            headers[key] = f"{headers[key]}, {value}" if key in headers else value
        query, shown = _without_key(scope.get("query_string", b"").decode("latin-1"))
        return cls(
            method=scope["method"],
            path=scope["path"],
            query=query,
            headers=headers,
            query_key=shown,
        )

    @property
    def handle(self) -> str:
        """Return the handle that the client shows as its key, empty when there is none or two."""
        found = {self.headers[name].strip() for name in HANDLE_HEADERS if name in self.headers}
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            found.add(token.strip())
        found.add(self.query_key)
        found.discard("")
        return found.pop() if len(found) == 1 else ""

    @property
    def traceparent(self) -> str:
        """Return the client's trace context where it has the right form."""
        value = self.headers.get("traceparent", "")
        return value if _TRACEPARENT.fullmatch(value) else ""


def _without_key(query: str) -> tuple[str, str]:
    """Split a query into itself without the key, and the key; two keys are one that nobody has."""
    rest: list[str] = []
    found: set[str] = set()
    for pair in filter(None, query.split("&")):
        name, _, value = pair.partition("=")
        if unquote_plus(name) == "key":
            found.add(unquote_plus(value))
        else:
            rest.append(pair)
    found.discard("")
    return "&".join(rest), TWO_KEYS if len(found) > 1 else "".join(found)
