"""A warrant is revoked, and whoever held it goes on: on another node, or over a connection that was opened before."""

from collections.abc import AsyncIterator, Sequence

import anyio
import pytest

from hive.core.call import EffectClass, Refused, Verb
from hive.core.grant import Grant, HostRule
from hive.core.json import encode
from hive.engines import Migration, load_migrations
from hive.execution.ports import GuestEvent, Turn, TurnDone
from hive.kernel.ports import Attempt
from hive.node.build import SCHEMAS
from hive.node.warrants import hang_up_revoked
from tests.kernel_rig import Stage, StagedSandbox, running_kernel, said
from tests.warrant_play import Players, book_on
from tests.warrant_rig import under

pytestmark = pytest.mark.anyio


@pytest.fixture
def migrations() -> Sequence[Migration]:
    return [one for schema in SCHEMAS for one in load_migrations(schema)]


async def test_what_one_node_revoked_counts_on_another_of_its_database(database):
    one, other = book_on(database), book_on(database)
    warrant, heard = under("tool fs"), anyio.Event()
    await other.load()

    def look() -> None:
        if other.objection(warrant) is not None:
            heard.set()

    other.on_revoked(look)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(other.watch)
        assert other.objection(warrant) is None
        await one.revoke("id", warrant.id, by="operator")
        with anyio.fail_after(60):
            await heard.wait()
        tasks.cancel_scope.cancel()
    assert other.objection(warrant).check == "warrant"


class Talker(Players):
    """Plays an agent that keeps a connection open for as long as it may."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = 0
        self.more = anyio.Event()

    async def play(self, sandbox: StagedSandbox, turn: Turn) -> AsyncIterator[GuestEvent]:
        principal = self.kernel.dispatcher.resolve_handle(sandbox.id, sandbox.handle)

        async def act() -> AsyncIterator[bytes]:
            self.reached.set()
            await self.more.wait()
            await anyio.lowlevel.checkpoint()
            self.sent += 1
            yield b""

        attempt = Attempt(
            principal=principal,
            verb=Verb.REACH,
            target="far.example:443",
            effect=EffectClass.ONCE,
            arguments=encode({"method": "CONNECT", "path": ""}),
        )
        async with self.kernel.dispatcher.deliver(attempt, act) as passage:
            assert not isinstance(passage, Refused)
            async for _ in passage:
                pass
        yield TurnDone(message=said("done"))


@pytest.mark.parametrize("is_revoked", [False, True])
async def test_a_connection_outlives_what_it_was_opened_under(database, tmp_path, is_revoked):
    players = Talker()
    async with running_kernel(database, tmp_path, Stage(play=players.play)) as kernel:
        players.kernel = kernel
        book = kernel.guards.warrants.revocations = book_on(database)
        hang_up_revoked(book, kernel.turns)
        await players.deploy("a", Grant(hosts=(HostRule(host="*"),)))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(players.send)
            with anyio.fail_after(60):
                await players.reached.wait()
            await book.revoke("agent", "another" if not is_revoked else "a", by="operator")
            players.more.set()
    assert players.sent == (0 if is_revoked else 1)
