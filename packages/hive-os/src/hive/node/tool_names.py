"""Which tool a name means, and what was probably meant by one that means nothing."""

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Final

from hive.core.errors import InvalidIdError, NotFoundError
from hive.core.ids import printable
from hive.protocols.mcp.gateway.names import outward_name
from hive.protocols.mcp.ports import ToolHub

NEAR_MAX: Final = 3


def full_tool_name(hub: ToolHub, name: str) -> str:
    """Return the full name of a tool; the server may be left out where that is clear.

    Raises:
        NotFoundError: there is none of that name.
        InvalidIdError: several servers have one.

    """
    tools = [one.definition for one in hub.tools()]
    names = [one.full_name for one in tools]
    if name in names:
        return name
    short = [
        one.full_name for one in tools if name in (one.name, outward_name(one.server, one.name))
    ]
    if len(short) == 1:
        return short[0]
    if len(short) > 1:
        raise InvalidIdError(
            f"{printable(name)} is a tool of several servers.", why=f"Known: {', '.join(short)}."
        )
    raise missing("tool", name, [*(one.spec.name for one in hub.servers()), *names])


def missing(what: str, name: str, known: Sequence[str]) -> NotFoundError:
    """Return the error for a name that means nothing, with the names that are near."""
    server, dot, _ = name.partition(".")
    if dot and server in known:
        # The server is right: what is near is one of its tools.
        known = [one for one in known if one.startswith(f"{server}.")]
    near = get_close_matches(name, known, n=NEAR_MAX, cutoff=0.5)
    ends = [one for one in known if name and one.partition(".")[2].startswith(name)]
    meant = ", ".join(dict.fromkeys((*near, *ends[:NEAR_MAX])))
    return NotFoundError(
        f"There is no {what} {printable(name)}.",
        why=f"Did you mean {meant}?" if meant else "",
        fix="hive tool list" if what == "server" else "hive tool list --tools",
    )
