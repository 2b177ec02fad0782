"""`mcp:SERVER` as a source: an MCP server of this node as an A2A agent.

What runs is a small agent of Hive's own behind the usual walls, whose grant holds that one server's tools and
nothing else; the server is reached through the gate.
"""

import re
from pathlib import Path
from typing import Final

from hive.core.errors import SpecError
from hive.core.grant import Grant
from hive.core.ids import agent_id, name, printable
from hive.core.spec import AgentSpec, EntryPoint, StartKind
from hive.execution.source_files import Visible, visible_named

SCHEME: Final = "mcp:"
FOLDER: Final = Path(__file__).parent / "tool_agent"
FILE: Final = "agent.py"
VARIABLE: Final = "TOOL_AGENT_SERVER"
_SERVER: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")


def names_server(text: str) -> bool:
    """Tell whether what a user typed names a server of tools."""
    return text.startswith(SCHEME) and not text.startswith(f"{SCHEME}//")


def server_of(spec: AgentSpec) -> str:
    """Return the server that an agent stands for; empty where it stands for none."""
    return spec.environment.get(VARIABLE, "") if spec.entry.source == str(FOLDER) else ""


def find_server(text: str, *, name_given: str = "") -> tuple[AgentSpec, Visible]:
    """Return the agent that stands for a server, and its files.

    Raises:
        SpecError: that is no name of a server.

    """
    server = text.removeprefix(SCHEME)
    if not _SERVER.fullmatch(server):
        raise SpecError(
            f"{printable(server)} is no name of a tool server.",
            why="After `mcp:` stands the name under which it was added.",
            fix="hive tool list     names them",
        )
    visible = visible_named(FOLDER, [FILE])
    chosen = agent_id(name_given) if name_given else agent_id(_agent_name(server))
    spec = AgentSpec(
        name=chosen,
        entry=EntryPoint(kind=StartKind.PYTHON, source=str(FOLDER), path=FILE, attribute="agent"),
        description=f"The tool server {server} as an agent: name a tool and its arguments.",
        version="1.0.0",
        needs=Grant(tools=(f"{server}.*",)),
        environment={VARIABLE: server},
        digest=visible.digest,
    )
    return spec, visible


def _agent_name(server: str) -> str:
    return name(re.sub(r"[^a-z0-9]+", "-", server.lower()).strip("-") or "tools", what="agent name")
