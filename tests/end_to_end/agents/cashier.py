"""An agent that calls a tool: `TOOL LABEL`."""

from hive_guest.tools import ToolCallError, use


def cashier(text: str) -> str:
    tool, _, label = text.partition(" ")
    try:
        return f"told {use(tool, label=label)['result']}"
    except ToolCallError as error:
        return f"failed {error}"
