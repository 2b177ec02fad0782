"""What the tools of the hub do, as the labels need it: derived once from each pinned definition."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from hive.core.json import Json
from hive.protocols.mcp.ports import FIRST_SIGHT, ToolHub
from hive.security.labels import ToolTraits, traits_of

TRAITS_MAX: Final = 10_000


def tool_traits(hub: ToolHub) -> Callable[[str], ToolTraits | None]:
    """Return what finds the traits of a tool by its full name; None for what the hub does not know."""
    known: OrderedDict[str, ToolTraits] = OrderedDict()

    def traits(target: str) -> ToolTraits | None:
        entry = hub.tool(target)
        if entry is None:
            return None
        definition = entry.definition
        found = known.get(definition.digest)
        if found is None or found.name != target:
            raw = definition.raw
            found = traits_of(
                target,
                str(raw.get("description") or ""),
                _object(raw.get("inputSchema")),
                # What a server says of its own tool counts once a person has approved the definition.
                _object(raw.get("annotations"))
                if entry.approved_by not in ("", FIRST_SIGHT)
                else {},
            )
            known[definition.digest] = found
            if len(known) > TRAITS_MAX:
                known.popitem(last=False)
        return found

    return traits


def trusted_tools(hub: ToolHub) -> Callable[[str], bool]:
    """Return what tells whether the operator trusts the server of a tool as the user."""

    def trusted(target: str) -> bool:
        view = hub.server(target.partition(".")[0])
        return view is not None and view.spec.trusted

    return trusted


def _object(value: Json) -> dict[str, Json]:
    return value if isinstance(value, dict) else {}
