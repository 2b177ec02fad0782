"""What the live page shows of tools: servers and how they stand, and definitions that wait for somebody.

Names, descriptions and reasons come from servers: they pass `shown`, as everything else of the page.
"""

from collections.abc import Iterator
from typing import Final

from hive.web.markup import cell, long_cell, number_cell, section, state_cell
from hive.web.tools import LiveTools, ToolLine, ToolServerLine

SERVERS_SHOWN: Final = 100
BLOCKED_SHOWN: Final = 50
_GOOD: Final = ("ready", "idle")
_BAD: Final = ("failed", "needs-login")


def tool_sections(tools: LiveTools) -> str:
    """Return the sections about tools."""
    return _servers(tools) + (_blocked(tools) if tools.blocked else "")


def _servers(tools: LiveTools) -> str:
    rows = (tuple(_server(one)) for one in tools.servers[:SERVERS_SHOWN])
    heads = ("Server", "State", "Tools", "Blocked", "In use", "Speaks", "From")
    title = f"Tools ({tools.tools})" if tools.tools else "Tools"
    empty = "No server yet: hive tool add filesystem --allow-path ."
    return section("tools", title, heads, rows, empty)


def _server(one: ToolServerLine) -> Iterator[str]:
    yield cell(one.name)
    yield state_cell(one.state, good=one.state in _GOOD, bad=one.state in _BAD)
    yield number_cell(f"{one.tools:,}")
    yield state_cell(str(one.blocked), good=False, bad=one.blocked > 0)
    yield number_cell(f"{one.links:,}")
    yield cell(" ".join(filter(None, (one.transport, one.revision))))
    yield long_cell(one.reason or one.place)


def _blocked(tools: LiveTools) -> str:
    rows = (tuple(_waiting(one)) for one in tools.blocked[:BLOCKED_SHOWN])
    heads = ("Tool", "State", "Why", "What it says", "To allow it")
    return section("blocked-tools", "Blocked tools", heads, rows, "")


def _waiting(one: ToolLine) -> Iterator[str]:
    yield cell(one.name)
    yield state_cell(one.pin, good=False, bad=True)
    yield long_cell("; ".join(one.flags) or _WHY.get(one.pin, ""))
    yield long_cell(one.description)
    yield cell(f"hive tool approve {one.name}")


_WHY: Final = {
    "flagged": "it looks like something that a person should read first",
    "changed": "its definition is another one than the one that was approved",
    "shadowing": "another server has a tool that it could be mistaken for",
}
