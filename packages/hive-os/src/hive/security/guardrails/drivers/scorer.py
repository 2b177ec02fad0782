"""Any scorer over HTTP: one POST a text, one bounded answer; no answer in time is a missing signal, never a crash.

Asked:     {"text": "...", "direction": "inward" | "outward", "source": "..."}
Answered:  {"findings": [{"kind": "injection", "score": 0.97, "start": 0, "end": 12, "rule": "..."}]}
           or, of a scorer that judges a text as a whole, {"score": 0.97} (then the kind is `injection`)

`start`, `end` and `rule` may be left out. A redirect is not followed.
"""

import ssl
from typing import Final
from urllib.parse import urlsplit

import anyio
import httpcore
import msgspec

from hive.core.clock import Clock
from hive.core.errors import ConfigError
from hive.core.ids import plain_text
from hive.core.json import encode
from hive.security.guardrails.ports import Direction, ScanFinding, ScanReport

ANSWER_MAX_BYTES: Final = 1 << 20
TEXT_MAX_CHARS: Final = 1 << 18
FINDINGS_MAX: Final = 200
CONNECTIONS_MAX: Final = 16
WORD_MAX_CHARS: Final = 64
_BROKEN: Final = (
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.TimeoutException,
    httpcore.UnsupportedProtocol,
    OSError,
    TimeoutError,
)


class FindingLine(msgspec.Struct, frozen=True, kw_only=True):
    """One finding as a scorer writes it."""

    kind: str = "injection"
    score: float = 0.0
    start: int = 0
    end: int = -1
    rule: str = ""


class ScorerAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What a scorer answers."""

    findings: tuple[FindingLine, ...] = ()
    score: float | None = None


class HttpScorer:
    """Asks a server what it thinks of a text."""

    def __init__(self, url: str, *, timeout_s: float, clock: Clock) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
            raise ConfigError(
                "HIVE_GUARD_URL names no server.",
                why=f"{parts.scheme}://{parts.hostname or ''} is no address of a scorer.",
                fix="Write for example http://127.0.0.1:9000/scan",
            )
        self._url = url
        self._timeout_s = timeout_s
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=ssl.create_default_context(), max_connections=CONNECTIONS_MAX, retries=0
        )

    async def scan(self, text: str, direction: Direction, source: str) -> ScanReport:
        """Report what the server says, or that it says nothing."""
        asked = {"text": text[:TEXT_MAX_CHARS], "direction": direction.value, "source": source}
        try:
            with anyio.fail_after(self._timeout_s):
                body = await self._post(encode(asked))
        except _BROKEN as error:
            return ScanReport(missing=f"the scorer did not answer ({type(error).__name__})")
        except ValueError as error:
            return ScanReport(missing=f"the scorer's answer cannot be used: {error}")
        return read_answer(body, len(text))

    async def _post(self, body: bytes) -> bytes:
        headers = [(b"content-type", b"application/json"), (b"accept", b"application/json")]
        found = bytearray()
        async with self._pool.stream("POST", self._url, headers=headers, content=body) as response:
            if response.status != 200:
                message = f"status {response.status}"
                raise ValueError(message)
            async for piece in response.aiter_stream():
                found += piece
                if len(found) > ANSWER_MAX_BYTES:
                    message = f"it is over {ANSWER_MAX_BYTES} bytes"
                    raise ValueError(message)
        return bytes(found)

    async def aclose(self) -> None:
        """End the connections."""
        await self._pool.aclose()


def read_answer(body: bytes, length: int) -> ScanReport:
    """Read an answer of a scorer about a text of that length; what is out of bounds is brought into them."""
    try:
        answer = msgspec.json.decode(body, type=ScorerAnswer)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return ScanReport(missing="the scorer's answer cannot be read")
    lines = list(answer.findings[:FINDINGS_MAX])
    if answer.score is not None:
        lines.append(FindingLine(score=answer.score))
    findings = tuple(_finding(one, length) for one in lines if one.score > 0)
    return ScanReport(findings=findings)


def _finding(line: FindingLine, length: int) -> ScanFinding:
    start = min(max(0, line.start), length)
    end = length if line.end < 0 else min(max(start, line.end), length)
    return ScanFinding(
        kind=plain_text(line.kind[:WORD_MAX_CHARS]) or "injection",
        start=start,
        end=end,
        score=min(1.0, line.score),
        rule=plain_text(line.rule[:WORD_MAX_CHARS]),
    )
