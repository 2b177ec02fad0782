"""A node as a process of its own, for tests that kill it and for clients that are not ours."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, cast
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from hive.core.json import Json, decode
from hive.core.task import TaskState

HIVE: Final = (sys.executable, "-m", "hive")
START_TIMEOUT_S: Final = 30.0
CALL_TIMEOUT_S: Final = 60.0
STATES: Final = {f"TASK_STATE_{state.name}": state for state in TaskState}


class WrongAnswerError(TypeError):
    """The node answered, but not with a task; the message is its answer."""


def free_port() -> int:
    """Return a loopback port that is free at this moment."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class NodeProcess:
    """Starts `hive up` on a state folder, speaks to it, kills it, starts it again."""

    def __init__(self, state: Path, environment: Mapping[str, str] | None = None) -> None:
        self.state = state
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._environment = dict(environment or {})
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Return the node's pid, 0 while it does not run."""
        return 0 if self._process is None else self._process.pid

    def start(self) -> None:
        """Start the node and wait until it is ready.

        Raises:
            RuntimeError: it did not get ready; the message holds what it printed.

        """
        self.state.mkdir(parents=True, exist_ok=True)
        with (self.state / "node.out").open("ab") as out:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "hive",
                    "up",
                    "--state",
                    str(self.state),
                    "--port",
                    str(self.port),
                ],
                stdout=out,
                stderr=out,
                stdin=subprocess.DEVNULL,
                env={**os.environ, **self._environment},
                start_new_session=True,
            )
        ends_at = time.monotonic() + START_TIMEOUT_S
        while not self._ready():
            if self._process.poll() is not None or time.monotonic() > ends_at:
                raise RuntimeError((self.state / "node.out").read_text()[-4000:])
            time.sleep(0.02)

    def kill(self) -> None:
        """Kill the node at once (SIGKILL) and wait until it is gone."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """Ask the node to end (SIGINT); return its exit status."""
        return self._end(signal.SIGINT)

    def hive(
        self, *arguments: str, timeout_s: float = CALL_TIMEOUT_S, cwd: Path | None = None
    ) -> str:
        """Run a command beside the node; return what it printed.

        Raises:
            RuntimeError: it failed.

        """
        # What stands behind two dashes belongs to a command of the user's.
        split = arguments.index("--") if "--" in arguments else len(arguments)
        words = [*arguments[:split], "--state", str(self.state), *arguments[split:]]
        done = subprocess.run(
            [*HIVE, *words],
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
            stdin=subprocess.DEVNULL,
            cwd=cwd,
        )
        if done.returncode not in (0, 3):
            raise RuntimeError(f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done.stdout

    def token(self) -> str:
        """Return the operator's token."""
        return (self.state / "operator.token").read_text().strip()

    def rpc(
        self, agent: str, method: str, params: Mapping[str, Json], *, token: str | None = None
    ) -> dict[str, Json]:
        """Speak JSON-RPC 1.0 with an agent; return the whole answer."""
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": dict(params)}
        request = Request(
            f"{self.url}/a2a/{agent}",
            data=json.dumps(body).encode(),
            headers={
                "Content-Type": "application/json",
                "A2A-Version": "1.0",
                "Authorization": f"Bearer {token or self.token()}",
            },
        )
        try:
            with urlopen(request, timeout=CALL_TIMEOUT_S) as answer:
                return cast("dict[str, Json]", decode(answer.read()))
        except HTTPError as error:
            return {"status": error.code, "body": error.read().decode("utf-8", "replace")}

    def send(self, agent: str, text: str, *, wait: bool = True, **more: Json) -> "SentTask":
        """Send a message to an agent; return the task."""
        message: dict[str, Json] = {
            "messageId": os.urandom(8).hex(),
            "role": "ROLE_USER",
            "parts": [{"text": text}],
            **more,
        }
        params: dict[str, Json] = {
            "message": message,
            "configuration": {"returnImmediately": not wait},
        }
        answer = self.rpc(agent, "SendMessage", params)
        result = answer.get("result")
        if not isinstance(result, dict):
            raise WrongAnswerError(json.dumps(answer))
        return SentTask(cast("dict[str, Json]", result["task"]))

    def task(self, agent: str, task_id: str) -> "SentTask":
        """Get a task."""
        answer = self.rpc(agent, "GetTask", {"id": task_id})
        if not isinstance(answer.get("result"), dict):
            raise WrongAnswerError(json.dumps(answer))
        return SentTask(cast("dict[str, Json]", answer["result"]))

    def wait_settled(self, agent: str, task_id: str, *, timeout_s: float = 30.0) -> "SentTask":
        """Get a task again and again until it is at rest."""
        ends_at = time.monotonic() + timeout_s
        while True:
            task = self.task(agent, task_id)
            if task.state.terminal or task.state.interrupted or time.monotonic() > ends_at:
                return task
            time.sleep(0.05)

    def _ready(self) -> bool:
        try:
            with urlopen(f"{self.url}/api/ready", timeout=1.0) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def _end(self, number: signal.Signals) -> int:
        if self._process is None:
            return 0
        self._process.send_signal(number)
        status = self._process.wait(START_TIMEOUT_S)
        self._process = None
        return status


class SentTask:
    """A task as it came over the wire."""

    def __init__(self, wire: dict[str, Json]) -> None:
        self.wire = wire
        self.id = str(wire["id"])
        self.context_id = str(wire["contextId"])
        status = cast("dict[str, Json]", wire["status"])
        self.state = STATES[str(status["state"])]
        self.said = _text(status.get("message"))

    @property
    def answer(self) -> str:
        """Return the text of its artifacts."""
        artifacts = cast("list[Json]", self.wire.get("artifacts") or [])
        return "".join(_text(one) for one in artifacts)


def _text(holder: Json) -> str:
    if not isinstance(holder, dict):
        return ""
    parts = cast("list[dict[str, Json]]", holder.get("parts") or [])
    return "".join(str(part.get("text", "")) for part in parts)


@contextmanager
def node_process(
    state: Path, environment: Mapping[str, str] | None = None
) -> Iterator[NodeProcess]:
    """Run a node for the length of a test."""
    node = NodeProcess(state, environment)
    node.start()
    try:
        yield node
    finally:
        node.kill()
