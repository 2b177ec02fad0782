"""Twenty agents of a real framework hosted at once, each having answered; and how soon a new agent answers.

Memory is the proportional share (PSS) of the node's whole tree of processes: node, engines, launcher, sandboxes.
The first answer is timed from the start of `hive run` beside a running node to the end of the first call.
A hundred plain functions are measured by the benchmark `memory`.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from benchmarks.ground import ECHO, RunningNode, load, node, pss_mib, tree_of

NAME: Final = "hosting_memory"
SUMMARY: Final = "20 LangGraph agents that have answered, with node and engines"
UNIT: Final = "MiB"
AGENTS: Final = 20
FIRST_ANSWERS: Final = 9
GRAPH: Final = '''
from langchain_core.messages import AIMessage
from langgraph.graph import START, MessagesState, StateGraph


def answer(state: MessagesState):
    """Say it again."""
    return {"messages": [AIMessage(state["messages"][-1].content)]}


builder = StateGraph(MessagesState)
builder.add_node("answer", answer)
builder.add_edge(START, "answer")
agent = builder.compile()
'''


def run() -> dict[str, Any]:
    """Measure; the first deployment builds the environment and needs a package index."""
    with tempfile.TemporaryDirectory() as folder:
        graph, echo = Path(folder, "graph"), Path(folder, "echo")
        for source, text in ((graph, GRAPH), (echo, ECHO)):
            source.mkdir()
            (source / "agent.py").write_text(text)
        (graph / "requirements.txt").write_text("langgraph>=1,<2\n")
        with node(Path(folder, "state")) as (running, _):
            firsts = [_first_answer(running, echo, number) for number in range(FIRST_ANSWERS)]
            before = pss_mib(tree_of(running.process.pid))
            built_s = running.deploy("agent.py:agent", graph, name="graph-0")
            cached = [
                running.deploy("agent.py:agent", graph, name=f"graph-{number}")
                for number in range(1, AGENTS)
            ]
            for number in range(AGENTS):
                _call(running, f"graph-{number}")
            hosting = pss_mib(tree_of(running.process.pid))
    return {
        "value": hosting,
        "details": {
            "agents": AGENTS,
            "each_agent_mib": (hosting - before) / AGENTS,
            "first_deploy_s": built_s,
            "deploy_cached_ms": statistics.median(cached) * 1000,
            "plain_function_first_answer_ms": statistics.median(firsts) * 1000,
            "plain_function_first_answer_worst_ms": max(firsts) * 1000,
        },
    }


def _first_answer(running: RunningNode, folder: Path, number: int) -> float:
    name = f"first-{number}"
    command = ["run", "agent.py:agent", "--name", name, "--state", str(running.folder)]
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "hive", *command],
        cwd=folder,
        check=True,
        capture_output=True,
        stdin=subprocess.DEVNULL,
    )
    _call(running, name)
    return time.perf_counter() - began


def _call(running: RunningNode, name: str) -> None:
    load(running.port, f"/a2a/{name}", running.token, clients=1, calls=1)
