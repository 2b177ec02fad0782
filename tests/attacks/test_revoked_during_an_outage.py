"""An identity is revoked while the database is away, or while the list is read: whoever disturbs the database keeps it.

The node dies before the database is back, and begins again with what it finds.
"""

import anyio
import pytest

from hive.core.clock import SystemClock
from hive.core.errors import EngineUnavailableError, IdentityError
from hive.engines import load_migrations
from hive.security.identity import Denial, DeniedKind, DenyList
from hive.security.identity import denied as deny_list
from hive.security.identity.denied import FOREVER

pytestmark = pytest.mark.anyio
MALLORY = "spiffe://hive.example/agent/mallory"
KEY = (DeniedKind.ID, MALLORY)


class Outage:
    """A database that is away when it is told so."""

    def __init__(self, database) -> None:
        self._database = database
        self.is_away = True
        self.asked = 0

    def __getattr__(self, name):
        self.asked += 1
        if self.is_away:
            raise EngineUnavailableError("The database is away.")
        return getattr(self._database, name)


@pytest.fixture
def migrations():
    return load_migrations("hive.security")


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch):
    monkeypatch.setattr(deny_list, "KEEP_PAUSES_S", (0.01, 0.02))
    monkeypatch.setattr(deny_list, "WATCH_PAUSE_S", 0.01)


def denial(value: str = MALLORY) -> Denial:
    now = SystemClock().now()
    return Denial(kind=DeniedKind.ID, value=value, at=now, ends_at=now + FOREVER, reason="stolen")


def deny_list_on(database, tmp_path) -> DenyList:
    return DenyList(database=database, clock=SystemClock(), unkept=tmp_path / "identity.unkept")


async def kept(database) -> list[str]:
    return [row["value"] for row in await database.fetch("SELECT value FROM identity_denied")]


async def test_revoked_while_the_database_was_away_then_the_node_restarts(database, tmp_path):
    outage = Outage(database)
    before = deny_list_on(outage, tmp_path)
    with pytest.raises(EngineUnavailableError, match="denied on this node"):
        await before.keep(denial())
    assert before.find(KEY) is not None, "it holds at once"
    # The node is killed here; the database is back, and has never heard of it.
    after = deny_list_on(database, tmp_path)
    await after.load()
    assert after.find(KEY) is not None
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(after.watch)
        with anyio.fail_after(60):
            while (tmp_path / "identity.unkept").exists():  # noqa: ASYNC110 - a file tells nobody
                await anyio.sleep(0.01)
        tasks.cancel_scope.cancel()
    assert await kept(database) == [MALLORY]


async def test_a_moment_of_absence_costs_nobody_anything(database, tmp_path):
    outage = Outage(database)
    denied = deny_list_on(outage, tmp_path)

    async def come_back_later() -> None:
        while outage.asked == 0:
            await anyio.lowlevel.checkpoint()
        outage.is_away = False

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(come_back_later)
        with anyio.fail_after(60):
            await denied.keep(denial())
    assert await kept(database) == [MALLORY]
    assert not (tmp_path / "identity.unkept").exists()


async def test_what_could_not_be_kept_is_kept_by_the_node_that_lives_on(database, tmp_path):
    outage = Outage(database)
    denied = deny_list_on(outage, tmp_path)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(denied.watch)
        with pytest.raises(EngineUnavailableError):
            await denied.keep(denial())
        outage.is_away = False
        with anyio.fail_after(60):
            while await kept(database) != [MALLORY]:
                await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()
    assert denied.find(KEY) is not None


class Late(Outage):
    """Answers with the list as it was a moment ago: `meanwhile` falls between the question and the answer."""

    def __init__(self, database, meanwhile) -> None:
        super().__init__(database)
        self.is_away = False
        self.meanwhile = meanwhile

    async def fetch(self, *question):
        rows = await self._database.fetch(*question)
        if self.meanwhile is not None:
            meanwhile, self.meanwhile = self.meanwhile, None
            await meanwhile()
        return rows


async def test_what_was_read_before_a_revocation_does_not_forget_it(database, tmp_path):
    async def revoke() -> None:
        await denied.keep(denial())

    denied = deny_list_on(Late(database, revoke), tmp_path)
    await denied.load()
    assert denied.find(KEY) is not None


async def test_a_list_that_never_stands_still_forgets_nothing(database, tmp_path):
    class Restless(Outage):
        async def fetch(self, *question):
            rows = await self._database.fetch(*question)
            self.asked += 1
            await denied.keep(denial(f"{MALLORY}{self.asked}"))
            return rows

    restless = Restless(database)
    restless.is_away = False
    denied = deny_list_on(restless, tmp_path)
    await denied.load()
    assert len(denied.all()) == len(await kept(database)) == deny_list.LOAD_TRIES_MAX


async def test_what_was_lifted_while_the_list_was_read_stays_lifted(database, tmp_path):
    await deny_list_on(database, tmp_path).keep(denial())

    async def allow() -> None:
        await denied.lift(*KEY)

    denied = deny_list_on(Late(database, allow), tmp_path)
    await denied.load()
    assert denied.find(KEY) is None


async def test_what_waits_for_the_database_and_is_lifted_does_not_come_back(database, tmp_path):
    outage = Outage(database)
    denied = deny_list_on(outage, tmp_path)
    with pytest.raises(EngineUnavailableError):
        await denied.keep(denial())
    outage.is_away = False
    await denied.lift(*KEY)
    assert denied.find(KEY) is None
    again = deny_list_on(database, tmp_path)
    await again.load()
    assert again.find(KEY) is None
    assert await kept(database) == []


async def test_a_spoiled_file_of_revocations_is_no_empty_one(database, tmp_path):
    (tmp_path / "identity.unkept").write_bytes(b"[{")
    with pytest.raises(IdentityError, match="cannot be read"):
        await deny_list_on(database, tmp_path).load()
