"""Two forms of a definition side by side, for a person who decides: nothing hidden stays hidden."""

import difflib
import json
from typing import Final

from hive.protocols.mcp.pins.look import HIDDEN
from hive.protocols.mcp.ports import ToolDefinition

LINES_MAX: Final = 400


def readable(definition: ToolDefinition) -> str:
    """Return a definition as indented JSON whose hidden characters are written out."""
    text = json.dumps(definition.raw, indent=2, sort_keys=True, ensure_ascii=False)
    return HIDDEN.sub(lambda found: f"<U+{ord(found[0]):04X}>", text)


def difference(before: ToolDefinition | None, after: ToolDefinition) -> str:
    """Return a unified difference; the whole new form where there was none before."""
    if before is None:
        lines = [f"+{line}" for line in readable(after).splitlines()]
    else:
        lines = list(
            difflib.unified_diff(
                readable(before).splitlines(),
                readable(after).splitlines(),
                fromfile=f"approved {before.digest[:12]}",
                tofile=f"now {after.digest[:12]}",
                lineterm="",
            )
        )
    if len(lines) > LINES_MAX:
        lines = [*lines[:LINES_MAX], f"... {len(lines) - LINES_MAX} more lines"]
    return "\n".join(lines)
