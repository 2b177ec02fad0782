"""A real node with real sandboxes for attacks: started once a module, agents deployed by name."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from hive.testing.node_process import NodeProcess, node_process

HOSTILE = Path(__file__).parent / "agents" / "hostile.py"


class LivingNode:
    """A node, and where the folders of its agents are made."""

    def __init__(self, process: NodeProcess, folder: Path) -> None:
        self.process = process
        self.folder = folder

    def deploy(self, attribute: str, *more: str, name: str = "", spec: str = "") -> str:
        """Deploy one of the hostile agents; return its name."""
        name = name or attribute.replace("_", "-")
        place = self.folder / name
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy(HOSTILE, place / "hostile.py")
        head = f'name = "{name}"\nentry = "hostile.py:{attribute}"\nrequirements = []\n'
        (place / "hive-agent.toml").write_text(head + spec)
        self.process.hive("run", str(place), "--name", name, "--yes", *more)
        return name

    def ask(self, agent: str, text: str = "go", *, token: str | None = None) -> str:
        """Send a message and return the text of the answer, or of what its status says."""
        task = self.sent(agent, text, token=token)
        return task.answer or task.said

    def sent(self, agent: str, text: str = "go", *, token: str | None = None):
        """Send a message, wait for its end, return the task."""
        params = {
            "message": {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": text}]},
            "configuration": {"returnImmediately": False},
        }
        answer = self.process.rpc(agent, "SendMessage", params, token=token)
        return self.task_of(answer)

    @staticmethod
    def task_of(answer):
        """Return the task in an answer."""
        from hive.testing.node_process import SentTask

        assert "result" in answer, answer
        return SentTask(answer["result"]["task"])

    def token(self, owner: str, *more: str) -> tuple[str, str]:
        """Issue a token to a client; return it and its id."""
        told = json.loads(self.process.hive("token", "issue", owner, "--json", *more))
        return told["token"], told["summary"]["id"]

    def entries(self, count: int = 2000) -> list[dict]:
        """Return the newest lines of the ledger."""
        lines = self.process.hive("audit", "tail", "-n", str(count), "--json").splitlines()
        return [json.loads(line) for line in lines]

    def processes(self) -> list[psutil.Process]:
        """Return everything that runs below the node."""
        return psutil.Process(self.process.pid).children(recursive=True)


@contextmanager
def living_node(folder: Path, environment: dict[str, str] | None = None) -> Iterator[LivingNode]:
    """Run a node for the length of a module."""
    with node_process(folder / "state", environment) as process:
        yield LivingNode(process, folder / "agents")
