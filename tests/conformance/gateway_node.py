"""A node that strangers may use, with the official package's `everything` server behind it in three ways."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from hive.testing.node_process import NodeProcess, node_process

ROOT: Final = Path(__file__).parents[2]
MODULE: Final = "tests.conformance.official_everything"
OPEN: Final = {"HIVE_ANONYMOUS": "1", "HIVE_ANONYMOUS_TOOLS": "1"}
SERVERS: Final = ("newest", "older", "walled")


@contextmanager
def everything_server(kind: str) -> Iterator[str]:
    """Run the server over HTTP as a program of its own; give its URL."""
    command = [sys.executable, "-m", MODULE, kind]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            assert url, "the server did not start"
            yield url
        finally:
            process.kill()


@contextmanager
def gateway_node(state: Path) -> Iterator[NodeProcess]:
    """Run a node with the servers `newest` and `older` over HTTP and `walled` over stdio, and the agent `hello`."""
    with ExitStack() as stack:
        urls = {kind: stack.enter_context(everything_server(kind)) for kind in ("newest", "older")}
        node = stack.enter_context(node_process(state, OPEN))
        for name, url in urls.items():
            node.hive("tool", "add", name, "--url", url, "--yes")
        seen = [f"--allow-path={path}" for path in {str(ROOT), sys.prefix, sys.base_prefix}]
        program = ["env", f"PYTHONPATH={ROOT}", sys.executable, "-m", MODULE, "stdio"]
        node.hive("tool", "add", "walled", "--yes", *seen, "--", *program)
        source = state.parent / "hello"
        source.mkdir()
        shutil.copy(ROOT / "examples" / "hello.py", source)
        (source / "hive-agent.toml").write_text('entry = "hello.py:agent"\npublic = true\n')
        node.hive("run", str(source), "--name", "hello", "--yes")
        yield node
