"""Another node as the witness: its key signs, its disk remembers, by C2SP `tlog-witness` over HTTP.

`hive:https://other.example/witness?key=NAME+HASH+BASE64`. The key is pinned here; what the other side answers is believed as
far as that key's signature goes. Who holds this node whole still cannot make the other sign a second history.
"""

import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final, Self
from urllib.parse import unquote, urlsplit

import httpcore

from hive.core.clock import Clock
from hive.core.drivers import query_of
from hive.core.errors import ConfigError, LedgerError, WitnessAwayError
from hive.core.ids import plain_text
from hive.core.json import decode
from hive.core.randomness import Randomness
from hive.ledger.notes import ORIGIN_PREFIX, Checkpoint, NoteKey, parse_checkpoint, parse_key
from hive.ledger.ports import GrowthProver
from hive.ledger.witnessing import WitnessRequest

TIMEOUT_S: Final = 20.0
ANSWER_MAX_BYTES: Final = 4 << 20
CHAINS_MAX: Final = 10_000
_SIZE_MAX_DIGITS: Final = 18


class HiveWitness:
    """Asks a node elsewhere."""

    independent = True

    def __init__(
        self, base: str, key: NoteKey, node: str, pool: httpcore.AsyncConnectionPool
    ) -> None:
        self._base = base
        self._node = node
        self._pool = pool
        self._sizes: dict[str, int] = {}
        self.key = key

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str, *, clock: Clock, randomness: Randomness) -> AsyncIterator[Self]:
        """Open the witness behind a URL; nothing is asked yet.

        Raises:
            ConfigError: the URL names no address or no key.

        """
        del clock, randomness
        base = url.partition(":")[2].partition("?")[0].rstrip("/")
        query = query_of(url)
        local = urlsplit(base).hostname in ("127.0.0.1", "localhost")
        if not base.startswith("https://") and not (base.startswith("http://") and local):
            raise ConfigError(
                "HIVE_WITNESS_URL=hive: names no node.",
                why="After `hive:` stands an https address.",
                fix="HIVE_WITNESS_URL='hive:https://host:8700/witness?key=NAME+HASH+BASE64'",
            )
        try:
            key = parse_key(unquote(query.get("key", "")))
        except LedgerError as error:
            raise ConfigError(
                "HIVE_WITNESS_URL=hive: names no key of the witness.", why=error.why, fix=error.fix
            ) from error
        context = ssl.create_default_context(cafile=unquote(query.get("roots", "")) or None)
        async with httpcore.AsyncConnectionPool(ssl_context=context, max_connections=2) as pool:
            yield cls(base, key, query.get("node", ""), pool)

    async def countersign(self, checkpoint: Checkpoint, prove: GrowthProver) -> str:
        """Return the signature lines of the other node.

        Raises:
            LedgerError: it has signed another history.
            WitnessAwayError: it does not answer.

        """
        note = checkpoint.note
        old = self._sizes.get(checkpoint.origin, 0)
        if old > checkpoint.size:
            raise _contradicts(checkpoint, old)
        status, body = await self._add(old, note, prove)
        if status == 409 and (known := _size(body)) is not None and known != old:
            # It knows better what it signed last: after a restart here, or a lost answer.
            if known > checkpoint.size:
                raise _contradicts(checkpoint, known)
            status, body = await self._add(known, note, prove)
        if status in (409, 422):
            raise _contradicts(checkpoint, _size(body) or old)
        if status != 200:
            raise WitnessAwayError(
                "The witness does not sign.",
                why=f"It answered {status}: {plain_text(body[:200])}",
                fix="Name this node's key there: HIVE_WITNESS_FOR",
            )
        self._sizes[checkpoint.origin] = checkpoint.size
        return body

    async def latest(self) -> Sequence[Checkpoint]:
        """Return what the other node remembers of this one.

        Raises:
            WitnessAwayError: it does not answer.

        """
        status, body = await self._ask("GET", f"/checkpoints?node={self._node}", b"")
        if status != 200:
            raise WitnessAwayError("The witness does not tell.", why=f"It answered {status}.")
        try:
            notes = decode(body)
        except ValueError as error:
            raise WitnessAwayError("The witness does not tell.", why="No JSON.") from error
        found = notes if isinstance(notes, list) else []
        kept = [parse_checkpoint(note) for note in found[:CHAINS_MAX] if isinstance(note, str)]
        own = ORIGIN_PREFIX + self._node + "."
        return [one for one in kept if one.origin.startswith(own)]

    async def _add(self, old: int, note: str, prove: GrowthProver) -> tuple[int, str]:
        path = await prove(old) if old else []
        asked = WitnessRequest(old_size=old, path=tuple(path), note=note)
        return await self._ask("POST", "/add-checkpoint", asked.text().encode())

    async def _ask(self, method: str, path: str, body: bytes) -> tuple[int, str]:
        timeouts = dict.fromkeys(("connect", "read", "write", "pool"), TIMEOUT_S)
        try:
            async with self._pool.stream(
                method, self._base + path, content=body, extensions={"timeout": timeouts}
            ) as answer:
                data = b""
                async for chunk in answer.aiter_stream():
                    data += chunk
                    if len(data) > ANSWER_MAX_BYTES:
                        raise _away("Its answer is too long.")
                return answer.status, data.decode("utf-8", "replace")
        except (
            httpcore.NetworkError,
            httpcore.TimeoutException,
            httpcore.ProtocolError,
            httpcore.UnsupportedProtocol,
            OSError,
        ) as error:
            raise _away(str(error) or type(error).__name__) from error


def _size(body: str) -> int | None:
    text = body.strip()
    good = text.isascii() and text.isdigit() and len(text) <= _SIZE_MAX_DIGITS
    return int(text) if good else None


def _away(why: str) -> WitnessAwayError:
    return WitnessAwayError(
        "The witness does not answer.", why=plain_text(why)[:300], fix="Look at the other node."
    )


def _contradicts(checkpoint: Checkpoint, size: int) -> LedgerError:
    return LedgerError(
        f"The witness refuses a checkpoint of {checkpoint.chain}.",
        why=f"It has signed another history of {size} entries.",
        fix="Run `hive audit verify`: the ledger may have been rewritten, or an old backup restored.",
    )
