"""One POST to an address that was looked at, and to no other.

What an HTTP client does beyond that is what an attacker would use: it resolves the name again, follows
redirects, keeps cookies, reads an answer of any size. Here a name is used for the TLS check and the
`Host` line only, and of the answer nothing is read but its status.
"""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final

from anyio import (
    BrokenResourceError,
    EndOfStream,
    connect_tcp,
    fail_after,
)
from anyio.abc import ByteStream

from hive_a2a.push.screen import Destination

TIMEOUT_S: Final = 10.0
CONNECT_TIMEOUT_S: Final = 3.0
ADDRESSES_TRIED_MAX: Final = 3
ANSWER_MAX_BYTES: Final = 8192
_LATER: Final = frozenset({408, 425, 429})
_NOT_HTTP: Final = "The receiver's answer is not HTTP."
_RESERVED: Final = frozenset({"host", "content-length", "connection", "transfer-encoding"})


@dataclass(frozen=True, slots=True, kw_only=True)
class PostOutcome:
    """How a delivery ended: with a status of HTTP, or with 0 and the reason why there is none."""

    status: int = 0
    reason: str = ""
    hopeless: bool = False

    @property
    def done(self) -> bool:
        """Tell whether the receiver has it."""
        return 200 <= self.status < 300

    @property
    def worth_another_try(self) -> bool:
        """Tell whether the same may go well later."""
        if self.status:
            return self.status >= 500 or self.status in _LATER
        return not self.hopeless


async def deliver(
    to: Destination,
    body: bytes,
    headers: Mapping[str, str],
    *,
    timeout_s: float = TIMEOUT_S,
    tls: ssl.SSLContext | None = None,
) -> PostOutcome:
    """Post a JSON body to a destination; `tls` replaces the machine's own roots."""
    head = _head(to, headers, len(body))
    if head is None:
        return PostOutcome(reason="A header is not plain ASCII on one line.", hopeless=True)
    try:
        with fail_after(timeout_s):
            # The end of TLS is not said, so a receiver that keeps silent does not hold up the close.
            async with await _connect(to, tls) as stream:
                await stream.send(head + body)
                return await _read_status(stream)
    except TimeoutError:
        return PostOutcome(reason="The receiver was too slow.")
    except ssl.SSLCertVerificationError:
        return PostOutcome(reason="The receiver's certificate is not valid.")
    except (OSError, EndOfStream, BrokenResourceError):
        return PostOutcome(reason="The receiver could not be reached, or hung up.")


async def _connect(to: Destination, tls: ssl.SSLContext | None) -> ByteStream:
    last: OSError | None = None
    for address in to.addresses[:ADDRESSES_TRIED_MAX]:
        try:
            with fail_after(CONNECT_TIMEOUT_S):
                if to.scheme == "https":
                    return await connect_tcp(
                        address,
                        to.port,
                        tls_hostname=to.host.rstrip("."),
                        ssl_context=tls or _roots(),
                        tls_standard_compatible=False,
                    )
                return await connect_tcp(address, to.port)
        except OSError as error:  # TimeoutError is one
            last = error
    raise last if last is not None else OSError("no address")


@cache
def _roots() -> ssl.SSLContext:
    """Read the machine's roots once: that takes longer than a delivery."""
    return ssl.create_default_context()


async def _read_status(stream: ByteStream) -> PostOutcome:
    """Read up to the status line of the final answer; those of 1xx come before it."""
    answer, room_bytes = b"", ANSWER_MAX_BYTES
    while room_bytes:
        more = await stream.receive(room_bytes)
        room_bytes -= len(more)
        answer += more
        while b"\r\n" in answer:
            status = _status_of(answer.partition(b"\r\n")[0])
            if not 100 <= status < 200:
                return PostOutcome(status=status, reason="" if status else _NOT_HTTP)
            _, head_ended, rest = answer.partition(b"\r\n\r\n")
            if not head_ended:
                break
            answer = rest
    return PostOutcome(reason=_NOT_HTTP)


def _status_of(line: bytes) -> int:
    version, _, rest = line.partition(b" ")
    code = rest[:3]
    if not version.startswith(b"HTTP/1.") or len(code) < 3 or not code.isdigit():
        return 0
    return int(code) if int(code) >= 100 else 0


def _head(to: Destination, headers: Mapping[str, str], size_bytes: int) -> bytes | None:
    host = f"[{to.host}]" if ":" in to.host else to.host
    lines = {
        "content-type": "application/json",
        "user-agent": "hive-a2a",
        **{name.lower(): value for name, value in headers.items()},
    }
    if not all(_is_line(name) and name not in _RESERVED for name in lines):
        return None
    if not all(map(_is_line, lines.values())):
        return None
    text = [
        f"POST {to.target} HTTP/1.1",
        f"host: {host}:{to.port}",
        f"content-length: {size_bytes}",
        "connection: close",
        *(f"{name}: {value}" for name, value in lines.items()),
    ]
    return "\r\n".join([*text, "", ""]).encode("ascii")


def _is_line(word: str) -> bool:
    return word.isascii() and word.isprintable()
