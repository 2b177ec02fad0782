"""What a tool server reaches, through the real kernel: a call in the ledger with who, which server and where."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.kernel_rig import Stage, running_kernel

from hive.core.clock import SystemClock
from hive.core.grant import Grant, HostRule
from hive.core.ids import OwnerId, SandboxId
from hive.core.randomness import SystemRandomness
from hive.engines import Migration, load_migrations
from hive.engines.ports import Database
from hive.node.build import SCHEMAS
from hive.node.placement import ToolDoors
from hive.protocols.egress.door import EgressDoor
from hive.testing.proxy_client import exchange, served_bytes, status_of

pytestmark = pytest.mark.anyio


@pytest.fixture
def migrations() -> Sequence[Migration]:
    return [one for schema in SCHEMAS for one in load_migrations(schema)]


def asking(host: str) -> bytes:
    return f"GET http://{host}/ HTTP/1.1\r\nhost: {host}\r\n\r\n".encode()


async def test_each_host_is_a_call_of_the_server_for_its_owner(
    database: Database, tmp_path: Path
) -> None:
    seen: list[bytes] = []
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok"
    async with (
        running_kernel(database, tmp_path, Stage()) as kernel,
        served_bytes(answer, seen) as port,
    ):
        turns = kernel.turns
        doors = ToolDoors(
            egress=EgressDoor(
                gate=kernel.dispatcher,
                principal_for=turns.principal_without_turn,
                grant_for=turns.grant_in,
                is_builder=turns.builds_in,
                clock=SystemClock(),
            ),
            turns=turns,
            clock=SystemClock(),
            randomness=SystemRandomness(),
            run_directory=tmp_path,
        )
        grant = Grant(hosts=(HostRule(host="127.0.0.1", ports=(port,)),))
        async with doors.open("weather", OwnerId("alice"), grant) as opening:
            proxy = Path(opening.gate_directory) / "egress.sock"
            assert sorted(one.name for one in proxy.parent.iterdir()) == ["egress.sock"]
            good = await exchange(proxy, asking(f"127.0.0.1:{port}"))
            bad = await exchange(proxy, asking("127.0.0.2:80"))
            sandbox = opening.sandbox_id
        assert (status_of(good), status_of(bad)) == (200, 403)
        assert turns.grant_in(SandboxId(sandbox)) is None
        rows = await database.fetch(
            "SELECT agent, owner, name, body::jsonb->>'principal' AS principal,"
            " body::jsonb->>'decision' AS decision FROM entry"
            " WHERE kind = 'intent' ORDER BY sequence"
        )
    common = {"agent": "tool:weather", "owner": "alice", "principal": "agent:tool:weather"}
    assert [dict(row) for row in rows] == [
        {**common, "name": f"reach 127.0.0.1:{port}", "decision": "admitted"},
        {**common, "name": "reach 127.0.0.2:80", "decision": "refused"},
    ]
    assert len(seen) == 1
