"""What a call of a tool may do again after a crash: the operator's word, else the hints of the definition.

A hint is the server's own word. That a call does nothing at all is believed only of a form that an operator
approved; until then such a hint says no more than that the call may be repeated under the same id.
"""

from collections.abc import Mapping

from hive.core.call import EffectClass
from hive.protocols.mcp.ports import FIRST_SIGHT, ServerSpec, ToolDefinition


def effect_of(spec: ServerSpec, definition: ToolDefinition, *, approved_by: str) -> EffectClass:
    """Return the effect class; `approved_by` is who let this form of the definition be used."""
    said = spec.effects.get(definition.name) or spec.effects.get("*")
    if said is not None:
        return said
    hints = definition.raw.get("annotations")
    if not isinstance(hints, Mapping):
        return EffectClass.ONCE
    if hints.get("readOnlyHint") is True:
        by_a_person = approved_by not in ("", FIRST_SIGHT)
        return EffectClass.PURE if by_a_person else EffectClass.IDEMPOTENT
    return EffectClass.IDEMPOTENT if hints.get("idempotentHint") is True else EffectClass.ONCE
