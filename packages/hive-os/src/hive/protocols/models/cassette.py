"""Recorded answers of models as one JSON file: read, matched, written.

    {"format": "hive-cassette/1",
     "exchanges": [{"dialect": "chat", "model": "gpt-x", "request": {...},
                    "status": 200, "headers": [["content-type", "application/json"]], "frames": ["..."]}]}

`request` is the client's document. `frames` is the body in the pieces in which it came, as text, or as
`{"base64": "..."}` where it is none. `query` and `action` stand there where the request had them.
A request matches when nothing differs but what the journal masks too: drawn ids, times of day.
"""

import base64
import binascii
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import msgspec

from hive.core.errors import BadInputError, ConfigError
from hive.core.json import Json, decode, encode
from hive.kernel.masks import first_difference, masked
from hive.protocols.models.frames import read_head_frame
from hive.protocols.models.guarded import LIMITS
from hive.protocols.models.ports import Dialect, ModelHead, ModelRequest
from hive.protocols.models.requests import canonical
from hive.protocols.models.reserve import with_usage

CASSETTE_FORMAT: Final = "hive-cassette/1"
CASSETTE_MAX_BYTES: Final = 64 << 20
EXCHANGES_MAX: Final = 10_000
_PATHS: Final[dict[Json, Dialect]] = {one.value: one for one in Dialect}
_NAMES: Final = {one.name.lower(): one for one in Dialect}


class _Packed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    base64: str


class RecordedExchange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One question and its answer."""

    dialect: str
    model: str
    request: msgspec.Raw
    frames: tuple[str | _Packed, ...]
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    query: str = ""
    action: str = ""
    stream: bool = False

    @property
    def identity(self) -> bytes:
        """Return the bytes that identify its question."""
        document = decode(bytes(self.request))
        return canonical(
            ModelRequest(
                dialect=_NAMES[self.dialect],
                model=self.model,
                stream=self.stream,
                body=b"",
                document=document if isinstance(document, dict) else {},
                query=self.query,
                action=self.action,
            )
        )

    @property
    def head(self) -> ModelHead:
        """Return status and headers of its answer."""
        return ModelHead(status=self.status, headers=self.headers)

    @property
    def body(self) -> Iterable[bytes]:
        """Return the body in its pieces."""
        for frame in self.frames:
            yield (
                base64.b64decode(frame.base64, validate=True)
                if isinstance(frame, _Packed)
                else frame.encode()
            )


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    format: str
    exchanges: tuple[RecordedExchange, ...]


class Cassette:
    """Answers in the order in which they were recorded: a question asked again gets its next answer.

    Where a question comes more often than it was recorded, its last answer stays.
    """

    def __init__(self, exchanges: Sequence[RecordedExchange]) -> None:
        self._exchanges = exchanges
        self._answers: dict[bytes, list[RecordedExchange]] = {}
        self._given: dict[bytes, int] = {}
        for exchange in exchanges:
            self._answers.setdefault(_key(exchange.identity), []).append(exchange)

    @property
    def dialects(self) -> frozenset[Dialect]:
        """Return the wires that it has answers on."""
        return frozenset(_NAMES[exchange.dialect] for exchange in self._exchanges)

    @property
    def models(self) -> Sequence[str]:
        """Return the models that it has answers of."""
        return tuple(dict.fromkeys(exchange.model for exchange in self._exchanges))

    def find(self, request: ModelRequest) -> RecordedExchange | str:
        """Return the answer to a request; else the path at which the nearest question differs, if any."""
        identity = canonical(request)
        key = _key(identity)
        if key not in self._answers:
            # A budget gives a question a limit that it did not have when it was recorded.
            key = _key(canonical(_without_limit(request)))
        answers = self._answers.get(key)
        if answers is None:
            return self._difference(request, identity)
        given = self._given.get(key, 0)
        self._given[key] = given + 1
        return answers[min(given, len(answers) - 1)]

    def _difference(self, request: ModelRequest, identity: bytes) -> str:
        """Return where the first question that was not asked yet differs; only the path, for values are others'."""
        name = request.dialect.name.lower()
        for exchange in self._exchanges:
            if exchange.dialect == name and _key(exchange.identity) not in self._given:
                found = first_difference(exchange.identity, identity)
                return found.path if found else ""
        return ""


def load_cassette(path: str) -> Cassette:
    """Read a file.

    Raises:
        ConfigError: it cannot be read, or is no cassette.

    """
    try:
        file = Path(path)
        if file.stat().st_size > CASSETTE_MAX_BYTES:
            raise _unusable(f"It is over {CASSETTE_MAX_BYTES} bytes.")
        read = msgspec.json.decode(file.read_bytes(), type=_File)
    except (OSError, ValueError, msgspec.MsgspecError) as error:
        raise _unusable(str(error)) from error
    if read.format != CASSETTE_FORMAT:
        raise _unusable(f"Its format is {read.format[:40]!r}; this is {CASSETTE_FORMAT!r}.")
    if len(read.exchanges) > EXCHANGES_MAX:
        raise _unusable(f"It holds over {EXCHANGES_MAX} exchanges.")
    for number, exchange in enumerate(read.exchanges):
        if exchange.dialect not in _NAMES:
            raise _unusable(f"Exchange {number} is on the unknown wire {exchange.dialect[:40]!r}.")
        try:
            list(exchange.body)
        except binascii.Error as error:
            raise _unusable(f"Exchange {number} has a frame that is no base64.") from error
    return Cassette(read.exchanges)


def exchange_of(
    request: ModelRequest, head: ModelHead, frames: Iterable[bytes]
) -> RecordedExchange:
    """Return what a cassette keeps of a question and its answer."""
    return RecordedExchange(
        dialect=request.dialect.name.lower(),
        model=request.model,
        request=msgspec.Raw(encode(dict(request.document))),
        frames=tuple(_frame(frame) for frame in frames),
        status=head.status,
        headers=head.headers,
        query=request.query,
        action=request.action,
        stream=request.stream,
    )


def recorded_exchange(model: str, arguments: bytes, frames: Sequence[bytes]) -> RecordedExchange:
    """Return what a cassette keeps of a call as the journal has it: what it asked, its answer's frames.

    Raises:
        BadInputError: it is none of a model.

    """
    asked = _asked(arguments)
    name = asked.get("path")
    body = asked.get("body")
    if not frames or not isinstance(body, dict) or name not in _PATHS:
        raise BadInputError("It is no recorded question to a model with its answer.")
    action = str(asked.get("action", ""))
    request = ModelRequest(
        dialect=_PATHS[name],
        model=model,
        stream=body.get("stream") is True or action == "streamGenerateContent",
        body=encode(body),
        document=body,
        query=str(asked.get("query", "")),
        action=action,
    )
    # A chat stream is always asked for its usage, and the answer on record is the one to that.
    return exchange_of(with_usage(request), read_head_frame(frames[0]), frames[1:])


def _asked(arguments: bytes) -> dict[str, Json]:
    try:
        asked: Json = decode(arguments)
    except ValueError:
        asked = None
    return asked if isinstance(asked, dict) else {}


def _without_limit(request: ModelRequest) -> ModelRequest:
    limits = LIMITS.get(request.dialect, ())
    document = {name: value for name, value in request.document.items() if name not in limits}
    config = document.get("generationConfig")
    if isinstance(config, dict):
        kept: dict[str, Json] = {k: v for k, v in config.items() if k not in limits}
        document["generationConfig"] = kept
        if not kept:
            del document["generationConfig"]
    return replace(request, document=document)


def write_cassette(path: str, exchanges: Sequence[RecordedExchange]) -> None:
    """Write a file, whole or not at all."""
    file = Path(path)
    draft = file.with_name(file.name + ".part")
    document = _File(format=CASSETTE_FORMAT, exchanges=tuple(exchanges))
    draft.unlink(missing_ok=True)
    # What people and agents said: for nobody else's eyes.
    draft.touch(mode=0o600)
    draft.write_bytes(msgspec.json.format(msgspec.json.encode(document), indent=1) + b"\n")
    draft.replace(file)


def _frame(data: bytes) -> str | _Packed:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return _Packed(base64=base64.b64encode(data).decode())


def _key(identity: bytes) -> bytes:
    return encode(masked(identity).document)


def _unusable(why: str) -> ConfigError:
    return ConfigError(
        "The cassette cannot be used.",
        why=why,
        fix="Write it as `replay:/path/cassette.json`; the how-to on local models shows its form.",
    )
