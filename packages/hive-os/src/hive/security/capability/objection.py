"""What a warrant has to say against a call. Pure, and on the path of every call that an agent makes."""

from datetime import datetime
from typing import Final

from hive.core.call import OWN, Refused, Verb
from hive.core.ids import printable
from hive.core.json import Json
from hive.security.capability.arguments import TooManyArgumentsError, leaves
from hive.security.capability.names import plain_name
from hive.security.capability.terms_check import TermsCheck
from hive.security.capability.warrant import Warrant

CHECK: Final = "warrant"
_NOUNS: Final = {
    Verb.ASK: "model",
    Verb.REACH: "host",
    Verb.SEND: "agent",
    Verb.INVOKE: "tool",
    Verb.SPAWN: "tier",
}
_TUNNEL: Final = "CONNECT"
_Leaves = list[tuple[str, Json]]


def objection(
    warrant: Warrant, verb: Verb, target: str, arguments: Json, now: datetime
) -> Refused | None:
    """Object to a call that a warrant does not allow; None where every link of it does."""
    if now >= warrant.not_after:
        return Refused(check=CHECK, reason="its warrant has expired", detail=warrant.id)
    if not plain_name(target):
        reason = "the name of what is called could be taken for another one"
        return Refused(check=CHECK, reason=reason, detail=printable(target[:200]))
    if verb in (Verb.RECALL, Verb.REMEMBER) and target.startswith(OWN):
        return None  # nobody handed these on: only the agent itself reaches them
    if not warrant.checks:
        return Refused(check=CHECK, reason="its warrant allows nothing", detail=warrant.id)
    found: _Leaves | None = None
    for number, check in enumerate(warrant.checks):
        conditions = check.find(verb, target)
        reason = ""
        if not conditions:
            reason = f"its warrant does not name the {_NOUNS.get(verb, verb.value)} {target}"
        elif None not in conditions or (check.paths is not None and verb is Verb.INVOKE):
            try:
                found = _leaves(verb, arguments) if found is None else found
                reason = _against(check, conditions, found, bounded=verb is Verb.INVOKE)
            except TooManyArgumentsError:
                reason = "its arguments are not such that a warrant can name them"
        if reason:
            detail = f"link {number + 1} of {len(warrant.checks)} of {warrant.id}"
            return Refused(check=CHECK, reason=reason, detail=detail)
    return None


def _against(
    check: TermsCheck, conditions: tuple[object, ...], found: _Leaves, *, bounded: bool
) -> str:
    if bounded and (name := check.strays(found)):
        return f"its warrant does not reach where {printable(name[:80])} leads"
    reason = ""
    for one in conditions:
        if one is None:
            return ""
        reason = one.objection(found)  # type: ignore[attr-defined]
        if not reason:
            return ""
    return reason


def _leaves(verb: Verb, arguments: Json) -> _Leaves:
    """Return what conditions are about; of a tunnel nothing is known but where it ends."""
    if verb is not Verb.REACH:
        if not isinstance(arguments, dict):
            raise TooManyArgumentsError  # what is no object has no names that could be allowed
        return leaves(arguments)
    if not isinstance(arguments, dict):
        return []
    method, path = arguments.get("method"), arguments.get("path")
    if method == _TUNNEL or not isinstance(path, str):
        return [("method", _TUNNEL)]
    return [("method", method), ("path", path.partition("?")[0].partition("#")[0])]
