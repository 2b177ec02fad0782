"""Memory of a node with its engines, idle; and with a hundred plain functions hosted, each having answered."""

import tempfile
import time
from pathlib import Path
from typing import Any, Final

from benchmarks.ground import ECHO, load, node, pss_mib, tree_of

NAME: Final = "memory"
SUMMARY: Final = "Node and engines, idle (details: with 100 agents that have answered)"
UNIT: Final = "MiB"
IDLE_S: Final = 60.0
AGENTS: Final = 100


def run() -> dict[str, Any]:
    """Measure the proportional memory of the whole tree of processes."""
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as source:
        Path(source, "echo.py").write_text(ECHO)
        with node(Path(folder, "state")) as (running, _):
            time.sleep(IDLE_S)
            idle = pss_mib(tree_of(running.process.pid))
            own = pss_mib([running.process.pid])
            began = time.perf_counter()
            for number in range(AGENTS):
                running.deploy("echo.py:agent", Path(source), name=f"echo-{number}")
            deployed_s = time.perf_counter() - began
            for number in range(AGENTS):
                load(running.port, f"/a2a/echo-{number}", running.token, clients=1, calls=1)
            tree = tree_of(running.process.pid)
            hosting = pss_mib(tree)
    return {
        "value": idle,
        "details": {
            "node_alone_mib": own,
            "idle_s": IDLE_S,
            "agents": AGENTS,
            "with_agents_mib": hosting,
            "each_agent_mib": (hosting - idle) / AGENTS,
            "processes": len(tree),
            "deploy_each_ms": deployed_s / AGENTS * 1000,
        },
    }
