"""Which clients are shown to work through the model gateway, in which versions, and how one of them is run.

A client is a program of `clients/` that knows nothing of Hive, behind the real walls of a real node, in an
environment of its own. It is given what every agent finds in its environment, and no network: an answer can
only come through the gateway. The model is a script.
"""

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from hive.testing.node_process import NodeProcess

CLIENTS: Final = Path(__file__).parent / "clients"
RULES: Final = CLIENTS / "rules.toml"
CALLS_PER_TASK: Final = 18
"""How many calls a client may make: enough for all it shows, and then it must be refused."""
FEATURES: Final = ("plain", "stream", "tool", "streamed_tool", "structured", "refused")
BUILD_TIMEOUT_S: Final = 220.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientProgram:
    """A program of `clients/`: its file, what it requires, and the wires it shows."""

    file: str
    requires: tuple[str, ...]
    wires: tuple[str, ...]


PROGRAMS: Final[Mapping[str, ClientProgram]] = {
    "openai": ClientProgram(
        file="use_openai.py",
        requires=("openai==3.54.0",),
        wires=("chat", "responses"),
    ),
    "anthropic": ClientProgram(
        file="use_anthropic.py",
        requires=("anthropic==2.12.0",),
        wires=("messages",),
    ),
    "google-genai": ClientProgram(
        file="use_google_genai.py",
        requires=("google-genai==3.4.0",),
        wires=("gemini",),
    ),
    "langgraph": ClientProgram(
        file="use_langgraph.py",
        requires=(
            "langgraph==1.2.22",
            "langchain==1.4.7",
            "langchain-openai==1.7.3",
            "langchain-anthropic==1.7.7",
            "langchain-google-genai==4.4.2",
        ),
        wires=("chat", "responses", "messages", "gemini"),
    ),
    "pydantic-ai": ClientProgram(
        file="use_pydantic_ai.py",
        requires=("pydantic-ai-slim[openai,anthropic,google]==2.68.0",),
        wires=("chat", "responses", "messages", "gemini"),
    ),
    "openai-agents": ClientProgram(
        file="use_openai_agents.py",
        requires=("openai-agents==0.24.0",),
        wires=("chat", "responses"),
    ),
    "google-adk": ClientProgram(
        file="use_google_adk.py",
        requires=("google-adk==2.13.0",),
        wires=("gemini",),
    ),
    "crewai": ClientProgram(
        file="use_crewai.py",
        requires=("crewai[anthropic,google-genai]==1.15.30",),
        wires=("chat", "messages", "gemini"),
    ),
    "agno": ClientProgram(
        file="use_agno.py",
        requires=("agno==3.1.10", "openai==3.54.0", "anthropic==2.12.0", "google-genai==3.4.0"),
        wires=("chat", "responses", "messages", "gemini"),
    ),
    "agent-framework": ClientProgram(
        file="use_agent_framework.py",
        requires=(
            "agent-framework-core==1.23.0",
            "agent-framework-openai==1.17.0",
            "agent-framework-anthropic==1.0.0b261022",
        ),
        wires=("chat", "responses", "messages"),
    ),
    "strands": ClientProgram(
        file="use_strands.py",
        requires=("strands-agents[openai,anthropic,gemini]==1.62.0",),
        wires=("chat", "responses", "messages", "gemini"),
    ),
    "autogen": ClientProgram(
        file="use_autogen.py",
        requires=(
            "autogen-agentchat==0.7.5",
            "autogen-ext[openai,anthropic]==0.7.5",
            "anthropic==0.125.0",  # its Anthropic client calls what later ones no longer have
        ),
        wires=("chat", "messages"),
    ),
    "litellm": ClientProgram(
        file="use_litellm.py",
        requires=("litellm==1.106.2", "mcp==2.3.0"),  # it imports mcp for every tool
        wires=("chat", "responses", "messages", "gemini"),
    ),
}


def all_rows() -> list[tuple[str, str]]:
    """Return each client with each of its wires."""
    return [(name, wire) for name, program in PROGRAMS.items() for wire in program.wires]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What one client showed on one wire."""

    versions: Mapping[str, str]
    features: Mapping[str, Mapping[str, Any]]

    @property
    def failures(self) -> dict[str, str]:
        """Return what failed and what was told of it."""
        told = {name: str(one["told"]) for name, one in self.features.items()}
        return {name: told[name] for name in told if self.features[name]["outcome"] == "failed"}

    def row(self, client: str, wire: str, upstream: str) -> dict[str, object]:
        """Return it as it is kept."""
        features = {name: dict(one) for name, one in self.features.items()}
        return {
            "client": client,
            "wire": wire,
            "upstream": upstream,
            "versions": dict(self.versions),
            "features": features,
        }


def hand_out(name: str, folder: Path) -> str:
    """Make a folder as a client's author would hand it out; return what `hive run` is told."""
    program = PROGRAMS[name]
    folder.mkdir(parents=True)
    for file in (program.file, "report.py"):
        shutil.copy(CLIENTS / file, folder)
    (folder / "requirements.txt").write_text("".join(f"{line}\n" for line in program.requires))
    return f"{folder / program.file}:answer"


def deployer(node: NodeProcess, folder: Path) -> Callable[[str], str]:
    """Return what deploys a client the first time it is asked for; it skips where no index answers."""
    deployed: set[str] = set()

    def deploy(name: str) -> str:
        if name in deployed:
            return name
        source = hand_out(name, folder / name)
        try:
            node.hive("run", source, "--yes", "--name", name, timeout_s=BUILD_TIMEOUT_S)
        except RuntimeError as error:
            if "HIVE-E051" in str(error) and "index does not answer" in str(error):
                pytest.skip("no package index answers")
            raise
        deployed.add(name)
        return name

    return deploy


def show(node: NodeProcess, name: str, wire: str) -> Shown:
    """Let a client that runs on the node show all it offers on one wire."""
    task = node.send(name, wire)
    artifacts: Any = task.wire.get("artifacts") or []
    text = "".join(part.get("text", "") for one in artifacts for part in one["parts"])
    if not text:
        raise AssertionError(f"{name} said nothing: {task.state} {task.said}")
    first, *rest = [json.loads(line) for line in text.splitlines()]
    return Shown(versions=first["versions"], features={one.pop("feature"): one for one in rest})
