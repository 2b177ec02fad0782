"""A real node, a real tool, the official client: what a holder elsewhere may have done, and no longer after a revocation."""

import json
import subprocess
import sys
import uuid
from pathlib import Path

import httpx
import pytest
from a2a.client import ClientConfig, create_client
from a2a.types import Message, Part, Role, SendMessageRequest

from hive.testing.node_process import free_port, node_process
from hive_a2a.stages.show_warrant import ShowWarrant
from hive_a2a.stages.tenuo_warrants import HeldWarrant

HERE = Path(__file__).parent
pytestmark = [
    pytest.mark.anyio,
    pytest.mark.peers,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]
AGENT = """
from hive_guest.tools import ToolCallError, use


def reader(text: str) -> str:
    try:
        return f"told {use('shelf__read', path=text)['result']}"
    except ToolCallError as error:
        return f"failed {error}"
"""


@pytest.fixture
def data(tmp_path):
    (tmp_path / "data" / "open").mkdir(parents=True)
    (tmp_path / "data" / "open" / "note").write_text("note")
    (tmp_path / "data" / "secret").write_text("treasure")
    return tmp_path / "data"


@pytest.fixture
def shelf(data):
    port = free_port()
    command = [sys.executable, str(HERE / "shelf.py"), str(data), str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline().strip() == "ready"
        yield f"http://127.0.0.1:{port}/mcp"
        process.kill()


class Caller:
    """A program elsewhere that holds a token, a key and perhaps a warrant."""

    def __init__(self, node, key: Path) -> None:
        self.node = node
        self.private = bytes.fromhex(key.read_text().strip())

    async def asked(self, text: str, warrant: str = "") -> str:
        interceptors = []
        if warrant:
            held = HeldWarrant.read(warrant)
            interceptors = [ShowWarrant(held, holder_private=self.private)]
        headers = {"Authorization": f"Bearer {self.node.token()}"}
        async with httpx.AsyncClient(timeout=60, headers=headers) as http:
            client = await create_client(
                f"{self.node.url}/a2a/reader",
                client_config=ClientConfig(httpx_client=http, streaming=False),
                interceptors=interceptors,
            )
            request = SendMessageRequest(
                message=Message(
                    message_id=str(uuid.uuid4()), role=Role.ROLE_USER, parts=[Part(text=text)]
                )
            )
            try:
                events = [event async for event in client.send_message(request)]
            except Exception as error:  # noqa: BLE001  whatever the client makes of a refusal
                return f"turned away: {error}"
        task = events[-1].task
        return " ".join(part.text for one in task.artifacts for part in one.parts)


async def test_a_holder_elsewhere_gets_what_its_warrant_says_until_it_is_revoked(
    tmp_path, data, shelf
):
    with node_process(tmp_path / "state") as node:
        node.hive("tool", "add", "shelf", "--url", shelf, "--yes")
        (tmp_path / "agent.py").write_text(AGENT)
        node.hive(
            "run", f"{tmp_path / 'agent.py'}:reader", "--yes", "--name", "reader",
            "--allow", "tool shelf.read path=under:/data", "--allow", "agent nobody",
        )  # fmt: skip
        public = node.hive("warrant", "key", str(tmp_path / "key")).split()[0]
        lines = ["agent reader", "tool shelf.read path=under:/data/open", "model *"]
        allow = [word for line in lines for word in ("--allow", line)]
        made = json.loads(node.hive("warrant", "mint", "--holder", public, *allow, "--json"))
        caller = Caller(node, tmp_path / "key")
        assert await caller.asked("/data/secret") == "told treasure", "a token alone has it all"
        assert await caller.asked("/data/open/note", made["token"]) == "told note"
        refused = await caller.asked("/data/secret", made["token"])
        assert refused.startswith("failed")
        assert "warrant" in refused
        assert (await caller.asked("/data/../secret")).startswith("failed"), "the grant's own rule"
        node.hive("warrant", "revoke", made["id"], "--reason", "done")
        assert "revoked" in await caller.asked("/data/open/note", made["token"])
        node.kill()
        node.start()
        assert "revoked" in await caller.asked("/data/open/note", made["token"])
        assert await caller.asked("/data/open/note") == "told note"
        names = {
            json.loads(line)["name"]
            for line in node.hive("audit", "tail", "-n", "500", "--json").splitlines()
        }
        assert {"warrant.minted", "warrant.revoked"} <= names
