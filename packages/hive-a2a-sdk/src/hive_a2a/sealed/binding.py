"""What a sealed request and its answer are bound to, and the plain texts inside.

A request says outside where it goes; whoever changes that, or moves the seal to another request, makes
it unopenable: method, path and query, A2A-Version and A2A-Extensions are associated data. Everything else
(credentials, query of the call, body) is inside, with the key of the answer, which is made for
this one request.
"""

import re
import secrets
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from hive_a2a.noise.cipher import KEY_BYTES
from hive_a2a.noise.session import ID_BYTES
from hive_a2a.sealed.errors import SealCode, SealFault
from hive_a2a.sealed.fields import FIELDS_MAX, pack_fields, read_fields

Header = tuple[bytes, bytes]

_REQUEST_LABEL: Final = b"hive-a2a/noise/request/v1"
_ANSWER_LABEL: Final = b"hive-a2a/noise/answer/v1"
CALL_NAME_BYTES: Final = ID_BYTES + 8
HEADERS_BYTES_MAX: Final = 64 << 10
"""As many as a head outside may have: what reads headers counts on that."""
_NAME: Final = re.compile(rb"[a-z0-9!#$%&'*+.^_`|~-]+")
_BAD_VALUE: Final = re.compile(rb"[\x00\r\n]")
_OUTSIDE: Final = frozenset(
    b"host content-length transfer-encoding connection keep-alive te trailer upgrade expect via"
    b" forwarded x-real-ip a2a-noise".split()
)
"""What the way itself is spoken with; such a header inside would speak for a proxy, and is refused."""


def is_outside(name: bytes) -> bool:
    """Tell whether a header belongs to the way, and so never travels inside."""
    return name in _OUTSIDE or name.startswith((b"x-forwarded-", b"proxy-"))


@dataclass(frozen=True, slots=True)
class RequestBinding:
    """What stands outside of a sealed request. `target` is the raw path, with `?` and the query if any."""

    method: bytes
    target: bytes
    version: bytes = b""
    extensions: bytes = b""

    def associated(self, session_id: bytes) -> bytes:
        """Return the associated data of the request."""
        listed = {one.strip() for one in self.extensions.split(b",")} - {b""}
        return pack_fields(
            _REQUEST_LABEL,
            session_id,
            self.method,
            self.target,
            self.version,
            b",".join(sorted(listed)),
        )


def call_name(session_id: bytes, number: int) -> bytes:
    """Return what one sealed request is called: its session and its number in it."""
    return session_id + number.to_bytes(8, "big")


def answer_label(handshake_hash: bytes, name: bytes) -> bytes:
    """Return what the frames of an answer are bound to, besides their order and their flags."""
    return pack_fields(_ANSWER_LABEL, handshake_hash, name)


@dataclass(frozen=True, slots=True, kw_only=True)
class InnerRequest:
    """What is inside of a sealed request.

    `retry_of` names the sealing of the same request that the server is said not to have opened.
    """

    body: bytes = field(repr=False)
    headers: tuple[Header, ...] = field(default=(), repr=False)
    query: bytes = field(default=b"", repr=False)
    retry_of: bytes = b""
    answer_key: bytes = field(default_factory=lambda: secrets.token_bytes(KEY_BYTES), repr=False)

    def encode(self) -> bytes:
        """Write it as the plain text that is sealed."""
        lines = [part for line in self.headers for part in line]
        return pack_fields(self.retry_of, self.answer_key, self.query, self.body, *lines)


def read_inner_request(data: bytes) -> InnerRequest:
    """Read an opened text.

    Raises:
        SealFault: it is not one, or carries headers that belong outside.

    """
    retry_of, answer_key, query, body, *lines = read_fields(data, least=4, most=FIELDS_MAX)
    if len(answer_key) != KEY_BYTES or len(retry_of) not in (0, CALL_NAME_BYTES):
        raise SealFault(SealCode.MALFORMED)
    return InnerRequest(
        retry_of=retry_of,
        answer_key=answer_key,
        query=query,
        body=body,
        headers=_headers_of(lines),
    )


class InnerHead(NamedTuple):
    """How an answer begins: HTTP's or gRPC's status, headers, and as much of the body as there is."""

    status: int
    body: bytes
    headers: tuple[Header, ...]

    def encode(self) -> bytes:
        """Write it as the plain text of an answer's first frame."""
        lines = [part for line in self.headers for part in line]
        return pack_fields(self.status.to_bytes(2, "big"), self.body, *lines)


def read_inner_head(data: bytes) -> InnerHead:
    """Read the plain text of an answer's first frame.

    Raises:
        SealFault: it is not one.

    """
    status, body, *lines = read_fields(data, least=2, most=FIELDS_MAX)
    if len(status) != 2:
        raise SealFault(SealCode.MALFORMED)
    return InnerHead(int.from_bytes(status, "big"), body, _headers_of(lines))


def _headers_of(lines: list[bytes]) -> tuple[Header, ...]:
    if len(lines) % 2:
        raise SealFault(SealCode.MALFORMED)
    if sum(map(len, lines)) > HEADERS_BYTES_MAX:
        raise SealFault(SealCode.TOO_LARGE)
    headers = tuple(zip(lines[::2], lines[1::2], strict=True))
    for name, value in headers:
        # Binary metadata of gRPC holds any byte; it never becomes a line of HTTP.
        if (
            _NAME.fullmatch(name) is None
            or is_outside(name)
            or (_BAD_VALUE.search(value) and not name.endswith(b"-bin"))
        ):
            raise SealFault(SealCode.MALFORMED)
    return headers
