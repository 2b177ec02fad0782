"""Environments of the real frameworks, and a model server that needs no model.

Each framework gets an environment of its own, because they exclude each other. `HIVE_TEST_CACHE` names a
folder that keeps them; a test skips, naming what is missing, where they cannot be installed.
`KEEP_CLIENT_RESULTS` names a file that keeps what the clients of the model gateway showed.
"""

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from uv import find_uv_bin

from hive.testing.node_process import NodeProcess, node_process
from tests.frameworks.client_matrix import CALLS_PER_TASK, RULES, deployer

INSTALL_TIMEOUT_S = 900


def pytest_configure(config):
    config.addinivalue_line(
        "markers", "frameworks: runs a real agent framework in its own environment"
    )


def pytest_collection_modifyitems(items):
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker("frameworks")


@pytest.fixture(scope="session")
def environments(tmp_path_factory) -> Path:
    kept = os.environ.get("HIVE_TEST_CACHE")  # noqa: TID251, a setting of these tests
    return Path(kept) if kept else tmp_path_factory.mktemp("environments")


@pytest.fixture(scope="session")
def python_with(environments) -> Callable[..., str]:
    """Build (once) an environment with some packages and return its interpreter."""

    def build(*requirements: str) -> str:
        key = hashlib.sha256("\n".join([sys.version, *requirements]).encode()).hexdigest()[:16]
        folder = environments / f"{requirements[0].split('=')[0].split('<')[0].split('>')[0]}-{key}"
        python = folder / "bin" / "python"
        done = folder / "installed"
        if not done.exists():
            _uv("venv", "--quiet", "--allow-existing", "--python", sys.executable, str(folder))
            _uv(
                "pip",
                "install",
                "--quiet",
                "--compile-bytecode",
                "--python",
                str(python),
                *requirements,
            )
            done.touch()
        return str(python)

    return build


def _uv(*arguments: str) -> None:
    try:
        subprocess.run(
            [find_uv_bin(), *arguments], check=True, capture_output=True, timeout=INSTALL_TIMEOUT_S
        )
    except (subprocess.SubprocessError, OSError) as error:
        told = getattr(error, "stderr", b"") or b""
        pytest.skip(
            f"uv cannot install {arguments[-1]}: {told.decode(errors='replace')[-300:] or error}"
        )


@pytest.fixture(scope="session")
def shown() -> Iterator[list[dict[str, object]]]:
    """Collect what clients of the gateway show; `scripts/model_clients` makes a page of it."""
    rows: list[dict[str, object]] = []
    yield rows
    kept = os.environ.get("KEEP_CLIENT_RESULTS")  # noqa: TID251, a setting of these tests
    if kept:
        Path(kept).write_text(json.dumps(rows))


@pytest.fixture(scope="session")
def gateway_node(tmp_path_factory) -> Iterator[NodeProcess]:
    """Run the node whose gateway the clients are shown at; their model is a script."""
    given = {"HIVE_MODELS": f"scripted:{RULES}", "HIVE_MODEL_CALLS_PER_TASK": str(CALLS_PER_TASK)}
    with node_process(tmp_path_factory.mktemp("node") / "state", given) as running:
        yield running


@pytest.fixture(scope="session")
def client(gateway_node, tmp_path_factory) -> Callable[[str], str]:
    """Deploy a client once; both modules that show it share its environment."""
    return deployer(gateway_node, tmp_path_factory.mktemp("clients"))


@pytest.fixture(scope="session")
def agents() -> Path:
    """Return the folder of the agents, as somebody who knows nothing of Hive would write them."""
    return Path(__file__).parent / "agents"


@pytest.fixture
def model_server() -> Iterator[str]:
    """Serve OpenAI's chat completions: the answer repeats the last message and counts the user's."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _ChatCompletions)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    server.shutdown()
    server.server_close()
    thread.join(5)


class _ChatCompletions(BaseHTTPRequestHandler):
    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        heard = [_text(m) for m in request["messages"] if m["role"] == "user"]
        answer = f"echo: {heard[-1]} | heard {len(heard)}"
        if request.get("stream"):
            self._send("text/event-stream", b"".join(self._events(answer)))
        else:
            message = {"role": "assistant", "content": answer}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            self._send("application/json", self._body([choice], "chat.completion"))

    def _events(self, answer):
        for word in answer.split(" "):
            delta = {"role": "assistant", "content": word if word == "echo:" else f" {word}"}
            choice = {"index": 0, "delta": delta, "finish_reason": None}
            yield b"data: " + self._body([choice], "chat.completion.chunk") + b"\n\n"
        choice = {"index": 0, "delta": {}, "finish_reason": "stop"}
        yield b"data: " + self._body([choice], "chat.completion.chunk") + b"\n\n"
        yield b"data: [DONE]\n\n"

    def _body(self, choices, kind):
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        body = {"id": "c", "object": kind, "created": 1, "model": "stub", "choices": choices}
        return json.dumps({**body, "usage": usage}).encode()

    def _send(self, media_type, body):
        self.send_response(200)
        self.send_header("content-type", media_type)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments):
        """Say nothing: the tests look at the answers."""


def _text(message):
    content = message["content"]
    return (
        content if isinstance(content, str) else "".join(part.get("text", "") for part in content)
    )
