"""Where clients want to hear of their tasks: kept per task, sealed at rest, screened before they are kept."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, cast

import msgspec

from hive.core.call import Principal
from hive.core.clock import Clock
from hive.core.errors import HiveError
from hive.core.ids import TaskId, new_id
from hive.core.json import encode
from hive.core.randomness import Randomness
from hive.core.task import Task
from hive.engines.ports import Database, Row
from hive.protocols.a2a.admit import to_id
from hive.protocols.a2a.errors import fault_of
from hive_a2a.crypto import open_sealed, seal
from hive_a2a.errors import CryptoError
from hive_a2a.faults import TASK_NOT_FOUND, WireFault, invalid
from hive_a2a.push.screen import DestinationScreen, Unfit

CONFIGS_PER_TASK_MAX: Final = 16
TOKEN_MAX_CHARS: Final = 4096
KEPT_FOR: Final = timedelta(days=30)
TASKS_MAX: Final = 100_000
KEY_PURPOSE: Final = b"hive push configurations"


class WireAuthentication(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """How the receiver of a push notification wants us to authenticate."""

    scheme: str = ""
    credentials: str = ""


class WirePushConfig(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """4.3.1."""

    url: str = ""
    id: str = ""
    task_id: str = ""
    token: str = ""
    tenant: str = ""
    authentication: WireAuthentication | None = None


_DECODER: Final = msgspec.json.Decoder(WirePushConfig)


def ignore(task: Task) -> None:
    """Tell nobody: what happens while no sender runs."""


@dataclass(slots=True, kw_only=True)
class PushConfigs:
    """The configurations of all tasks. `tasks` are those that have one: nobody else costs a query.

    `on_late` is told of a task that moved on before its configuration was kept.
    """

    database: Database
    key: bytes
    clock: Clock
    randomness: Randomness
    screen: DestinationScreen
    tasks: set[TaskId] = field(default_factory=set)
    on_late: Callable[[Task], None] = field(default=ignore)

    async def load(self) -> None:
        """Forget what is old, and learn which tasks have a configuration."""
        await self.database.execute(
            "DELETE FROM push_config WHERE created_at < $1", self.clock.now() - KEPT_FOR
        )
        rows = await self.database.fetch(
            "SELECT DISTINCT task FROM push_config LIMIT $1", TASKS_MAX
        )
        self.tasks = {TaskId(cast("str", row["task"])) for row in rows}

    async def admit(self, config: WirePushConfig) -> None:
        """Let a configuration pass that may be kept.

        Raises:
            WireFault: its URL leads where the node must not send, or a field is too long or unsafe.

        """
        if config.id:
            to_id(config.id, "push configuration id")
        secret = config.authentication
        words = [config.token]
        words += [secret.scheme, secret.credentials] if secret is not None else []
        if any(len(word) > TOKEN_MAX_CHARS or not _is_header(word) for word in words):
            raise invalid("A push token is plain ASCII without line breaks.")
        found = await self.screen.look(config.url)
        if isinstance(found, Unfit):
            raise invalid(found.reason)

    async def keep(
        self, principal: Principal, task: Task, config: WirePushConfig
    ) -> WirePushConfig:
        """Keep an admitted configuration; the same id replaces the one before.

        Raises:
            WireFault: the task has too many.

        """
        number = config.id or new_id(self.clock, self.randomness)
        kept = msgspec.structs.replace(config, id=number, task_id=task.id, tenant="")
        others = [one for one in await self.of_task(task.id) if one.id != number]
        if len(others) >= CONFIGS_PER_TASK_MAX or len(self.tasks) >= TASKS_MAX:
            raise invalid(f"A task has at most {CONFIGS_PER_TASK_MAX} push configurations.")
        sealed = seal(self.key, encode(kept), _bound_to(task.id, number))
        try:
            await self.database.execute(
                "INSERT INTO push_config (task, id, owner, sealed, created_at)"
                " VALUES ($1, $2, $3, $4, $5)"
                " ON CONFLICT (task, id) DO UPDATE SET sealed = excluded.sealed",
                task.id,
                number,
                principal.owner,
                sealed,
                self.clock.now(),
            )
        except HiveError as error:
            raise fault_of(error) from error
        self.tasks.add(task.id)
        return kept

    async def of_task(self, task: TaskId) -> tuple[WirePushConfig, ...]:
        """Return the configurations of a task, oldest first."""
        if task not in self.tasks:
            return ()
        try:
            rows = await self.database.fetch(
                "SELECT task, id, sealed FROM push_config WHERE task = $1 ORDER BY created_at, id",
                task,
            )
        except HiveError as error:
            raise fault_of(error) from error
        return tuple(one for one in map(self._opened, rows) if one is not None)

    async def one(self, task: TaskId, number: str) -> WirePushConfig:
        """Return one configuration.

        Raises:
            WireFault: there is none of that id.

        """
        for config in await self.of_task(task):
            if config.id == number:
                return config
        raise WireFault(TASK_NOT_FOUND, "Push configuration not found")

    async def remove(self, task: TaskId, number: str) -> None:
        """Forget one configuration; forgetting a missing one is no error."""
        try:
            await self.database.execute(
                "DELETE FROM push_config WHERE task = $1 AND id = $2", task, number
            )
        except HiveError as error:
            raise fault_of(error) from error
        if not await self.of_task(task):
            self.tasks.discard(task)

    def _opened(self, row: Row) -> WirePushConfig | None:
        task, number = cast("str", row["task"]), cast("str", row["id"])
        try:
            text = open_sealed(self.key, cast("bytes", row["sealed"]), _bound_to(task, number))
        except CryptoError:  # sealed with a key that is gone: as good as not there
            return None
        return _DECODER.decode(text)


def resealed(row: Row, old_key: bytes, new_key: bytes) -> bytes | None:
    """Return a kept configuration sealed with another key; None where the old one does not open it."""
    binding = _bound_to(cast("str", row["task"]), cast("str", row["id"]))
    try:
        return seal(new_key, open_sealed(old_key, cast("bytes", row["sealed"]), binding), binding)
    except CryptoError:
        return None


def _bound_to(task: str, number: str) -> bytes:
    return encode(["hive/push/v1", task, number])


def _is_header(word: str) -> bool:
    return word.isascii() and (word.isprintable() or not word)
