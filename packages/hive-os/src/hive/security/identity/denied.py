"""What counts no more although its time is not over: revoked SVIDs, and ids that are barred.

Short lives end most of what leaks. This ends it at once: whoever checks an SVID on this node asks here, in memory.
What an operator or the quarantine revoked is kept in the database and heard by every node of it; where the database is
away, it holds here, and the database is told later.
"""

import logging
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, TypeAlias, cast

import anyio
import anyio.to_thread

from hive.core.clock import Clock
from hive.core.errors import (
    EngineError,
    EngineTimeoutError,
    EngineUnavailableError,
    IdentityError,
    NotFoundError,
)
from hive.core.ids import plain_text
from hive.engines.ports import Database, Row
from hive.security.identity.ports import Denial, DeniedKind
from hive.security.identity.unkept import UNKEPT_MAX, UnkeptFile

log: Final = logging.getLogger(__name__)
DENIED_MAX: Final = 100_000
REASON_MAX_CHARS: Final = 200
WATCH_PAUSE_S: Final = 0.5
PAUSE_MAX_S: Final = 30.0
KEEP_PAUSES_S: Final = (0.05, 0.1, 0.2, 0.4, 0.8)
LOAD_TRIES_MAX: Final = 5
FOREVER: Final = timedelta(days=3650)
_CHANGED: Final = "hive_identity"
_Key: TypeAlias = tuple[DeniedKind, str]


class DenyList:
    """Everything that is denied; methods that do not await are atomic and take effect at once.

    What is denied here is first written into the file `unkept`, then into the database, and only then leaves the file:
    while the database is away it holds here, over a restart as well, and the database is told as soon as it is back.
    """

    def __init__(self, *, database: Database, clock: Clock, unkept: Path | None = None) -> None:
        self._database = database
        self._clock = clock
        self._denied: dict[_Key, Denial] = {}
        # Denied here, and not known to be in the database: what is read there does not lift it.
        self._unkept: dict[_Key, Denial] = {}
        self._file = UnkeptFile(unkept)
        self._file_was_read = False
        self._decided = 0
        self._left_over = anyio.Event()
        self._writing = anyio.Lock()
        self._observers: list[Callable[[Sequence[Denial]], None]] = []

    async def load(self) -> None:
        """Read what is kept; what was lifted elsewhere is lifted here.

        Raises:
            EngineError: the database is away.
            IdentityError: what waits for the database cannot be read.

        """
        await self._read_unkept()
        for _ in range(LOAD_TRIES_MAX):  # What is decided here meanwhile is not in what was read.
            decided = self._decided
            rows = await self._database.fetch(
                "SELECT * FROM identity_denied WHERE ends_at > $1 ORDER BY at DESC LIMIT $2",
                self._clock.now(),
                DENIED_MAX,
            )
            kept = {(one.kind, one.value): one for one in map(_from_row, rows)}
            if decided == self._decided:
                break
        else:
            kept = self._denied | kept  # Nothing is forgotten by a list that may be too old.
        fresh = [one for key, one in kept.items() if key not in self._denied]
        self._denied = self._unkept | kept
        self._tell(fresh)

    async def watch(self) -> None:
        """Follow what other nodes deny and keep what could not be kept, until cancelled; a database comes back."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._keep_left_over)
            while True:
                try:
                    async with self._database.listen(_CHANGED) as changes:
                        await self.load()
                        async for _ in changes:
                            await self.load()
                except EngineError as error:
                    log.warning("identity.denials_not_followed", extra={"error": error.what})
                    await anyio.sleep(WATCH_PAUSE_S)

    async def keep(self, *denials: Denial) -> None:
        """Deny at once, and durably on every node of this database.

        Raises:
            EngineError: it holds here, also after a restart; the database is told when it is back.
            IdentityError: too much is denied.

        """
        self._sweep(len(denials))
        for one in denials:
            key = (one.kind, one.value)
            self._denied[key] = self._unkept[key] = one
        self._decided += 1
        self._tell(denials)
        try:
            async with self._writing:
                await self._write_unkept()
            await self._keep_patiently(denials)
        finally:
            if self._unkept:
                self._left_over.set()

    async def lift(self, kind: DeniedKind, value: str) -> None:
        """Let it count again. Raises NotFoundError."""
        async with self._writing:
            async with self._database.transaction() as transaction:
                tag = await transaction.execute(
                    "DELETE FROM identity_denied WHERE kind = $1 AND value = $2", kind.value, value
                )
                await transaction.execute(f"NOTIFY {_CHANGED}")
            found = self._denied.pop((kind, value), None)
            self._decided += 1
            if self._unkept.pop((kind, value), None) is not None:
                await self._write_unkept()
        if found is None and tag.endswith(" 0"):
            raise NotFoundError(f"{plain_text(value)[:100]!r} is not denied.")

    def find(self, *names: tuple[DeniedKind, str]) -> Denial | None:
        """Return the first of these that is denied."""
        for name in names:
            if (found := self._denied.get(name)) is not None:
                return found
        return None

    def all(self) -> Sequence[Denial]:
        """Return everything that is denied, newest first."""
        self._sweep(0)
        return sorted(self._denied.values(), key=lambda one: one.at, reverse=True)

    def on_denied(self, observer: Callable[[Sequence[Denial]], None]) -> Callable[[], None]:
        """Call `observer` with whatever is denied from now on; return what ends that."""
        self._observers.append(observer)
        return lambda: self._observers.remove(observer)

    async def _read_unkept(self) -> None:
        if self._file_was_read:
            return
        left = await anyio.to_thread.run_sync(self._file.read)
        self._file_was_read = True
        now = self._clock.now()
        for one in left:
            if one.ends_at > now:
                self._denied[one.kind, one.value] = self._unkept[one.kind, one.value] = one
        if self._unkept:
            self._left_over.set()

    async def _write_unkept(self) -> None:
        """Put what the database does not hold into the file; a disk that fails takes nothing back."""
        with anyio.CancelScope(shield=True):
            try:
                left = tuple(self._unkept.values())
                await anyio.to_thread.run_sync(self._file.write, left)
            except OSError as error:
                log.error("identity.denials_not_on_disk", extra={"error": str(error)})  # noqa: TRY400

    async def _keep_patiently(self, denials: Sequence[Denial]) -> None:
        away: EngineError = EngineUnavailableError("The database is away.")
        for pause_s in KEEP_PAUSES_S:
            try:
                return await self._keep_now(denials)
            except (EngineUnavailableError, EngineTimeoutError) as error:
                log.warning("identity.denial_waits", extra={"error": error.what})
                away = error
                await anyio.sleep(pause_s)
        raise EngineUnavailableError(
            "It is denied on this node, and the database does not know it yet.",
            why=away.what,
            fix="Nothing for this node. Other nodes of the database hear of it when it is back.",
        ) from away

    async def _keep_left_over(self) -> None:
        """Tell the database what it does not know, as often as it takes, until cancelled."""
        pause_s = WATCH_PAUSE_S
        while True:
            await self._left_over.wait()
            self._left_over = anyio.Event()
            try:
                await self._keep_now(tuple(self._unkept.values()))
                pause_s = WATCH_PAUSE_S
            except EngineError as error:
                log.warning("identity.denials_not_kept", extra={"error": error.what})
                self._left_over.set()
                await anyio.sleep(pause_s)
                pause_s = min(PAUSE_MAX_S, pause_s * 2)

    async def _keep_now(self, denials: Sequence[Denial]) -> None:
        async with self._writing:
            # What was lifted while it waited stays lifted.
            waiting = [one for one in denials if self._unkept.get((one.kind, one.value)) is one]
            if not waiting:
                return
            async with self._database.transaction() as transaction:
                for one in waiting:
                    await transaction.execute(
                        "INSERT INTO identity_denied (kind, value, at, ends_at, reason, by)"
                        " VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (kind, value) DO UPDATE"
                        " SET ends_at = greatest(identity_denied.ends_at, excluded.ends_at)",
                        one.kind.value,
                        one.value,
                        one.at,
                        one.ends_at,
                        one.reason,
                        one.by,
                    )
                await transaction.execute(f"NOTIFY {_CHANGED}")
            for one in waiting:
                if self._unkept.get((one.kind, one.value)) is one:
                    del self._unkept[one.kind, one.value]
            self._decided += 1
            await self._write_unkept()

    def _tell(self, denials: Sequence[Denial]) -> None:
        for observer in tuple(self._observers) if denials else ():
            observer(denials)

    def _sweep(self, coming: int) -> None:
        if len(self._denied) + coming <= DENIED_MAX // 2 and coming:
            return
        now = self._clock.now()
        self._denied = {key: one for key, one in self._denied.items() if one.ends_at > now}
        if len(self._denied) + coming > DENIED_MAX or len(self._unkept) + coming > UNKEPT_MAX:
            # Forgetting one would let it count again, so the newcomer is refused instead.
            raise IdentityError(
                "Too much is denied.",
                why=f"{DENIED_MAX} SVIDs and ids are, or {UNKEPT_MAX} wait for the database.",
                fix="Rotate the authority: hive identity rotate --root",
            )


def _from_row(row: Row) -> Denial:
    return Denial(
        kind=DeniedKind(cast("str", row["kind"])),
        value=cast("str", row["value"]),
        at=cast("datetime", row["at"]),
        ends_at=cast("datetime", row["ends_at"]),
        reason=cast("str", row["reason"]),
        by=cast("str", row["by"]),
    )
