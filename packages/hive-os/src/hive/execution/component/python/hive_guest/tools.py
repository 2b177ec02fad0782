"""Tools inside a component: the names of `hive_guest.tools`."""

import json

from wit_world.imports import tools as _tools

from hive_guest import _done


class ToolCallError(Exception):
    """A tool could not be called, was refused, or failed."""


def tools(server=""):
    """Return the tools that this agent may use."""
    found = json.loads(_done(_tools.known, ToolCallError))
    return [one for one in found if not server or one["name"].startswith(f"{server}__")]


def use(name, /, *, server="", **arguments):
    """Call a tool and return its answer."""
    full = f"{server}__{name}" if server else name
    answer = _done(lambda: _tools.use_tool(full, json.dumps(arguments)), ToolCallError)
    try:
        return json.loads(answer)
    except ValueError:
        return answer
