"""Cedar: in this process by `cedarpy`, from `*.cedar` files of the bundle, or a Cedar agent by URL.

    principal   Hive::Principal::"agent:scribe"
    action      Hive::Action::"invoke"
    resource    Hive::Target::"mail.send"
    context     the whole question, less what Cedar has no word for: null is left out, a fraction is text

A `forbid` says why by the annotation @reason("..."); a `permit` says what is owed by @obligation("approval: why").
Cedar leaves out a policy whose condition fails, so that a `forbid` can be switched off by an argument of the wrong
kind: here any such failure is a refusal.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final

import cedarpy
import msgspec

from hive.core.call import ObligationKind
from hive.core.errors import ConfigError, PolicyError
from hive.core.json import Json
from hive.security.policy.bundle import Bundle
from hive.security.policy.corpus import questions
from hive.security.policy.drivers.asked_server import AskedServer
from hive.security.policy.ports import CompiledPolicy, Explanation, TrialReport
from hive.security.policy.question import DecisionDocument, OwedLine, encoded

AGENT_PATH: Final = "/v1/is_authorized"
_KINDS: Final = {one.value for one in ObligationKind}
_LONG: Final = range(-(2**63), 2**63)


class _Diagnostics(msgspec.Struct, frozen=True):
    reason: list[str] = []
    errors: list[object] = []


class _AgentAnswer(msgspec.Struct, frozen=True):
    decision: str
    diagnostics: _Diagnostics = _Diagnostics()


class CedarDriver:
    """Compiles policies here, or asks an agent."""

    def __init__(self, url: str, *, timeout_s: float) -> None:
        rest = url.partition(":")[2]
        self._server = AskedServer(rest, timeout_s=timeout_s) if rest else None
        self.takes_bundle = self._server is None

    async def trial(self, bundle: Bundle) -> TrialReport:
        """Compile a bundle and ask it made-up questions; Cedar ends always, and soon."""
        if self._server is not None:
            return TrialReport(problems=("The policies live in the Cedar agent: load them there.",))
        try:
            policy = CedarPolicy(bundle)
        except (PolicyError, ConfigError) as error:
            return TrialReport(problems=(error.why or error.what,))
        failed: dict[str, None] = {}
        for question in questions(policy.words):
            try:
                policy.ask(question.verb, encoded(question))
            except PolicyError as error:
                failed.setdefault(f"{question.verb}: {error.why}"[:300])
        notes = tuple(f"refused while tried: {one}" for one in list(failed)[:5])
        return TrialReport(notes=notes, rules=policy.size)

    async def compile(self, bundle: Bundle) -> CompiledPolicy:
        """Make policies ready. Raises PolicyError."""
        return CedarPolicy(bundle) if self._server is None else CedarAgentPolicy(self._server)

    async def explain(self, bundle: Bundle, question: bytes) -> Explanation:
        """Answer one question; the reasons name the policies that took part."""
        verb = str(_read(question).get("verb", ""))
        if self._server is not None:
            return Explanation(
                document=await CedarAgentPolicy(self._server).ask(verb, question), lines={}
            )
        return Explanation(document=CedarPolicy(bundle).ask(verb, question), lines={})

    async def aclose(self) -> None:
        """End the connections."""
        if self._server is not None:
            await self._server.aclose()


class CedarPolicy:
    """The policies of one bundle, parsed once."""

    def __init__(self, bundle: Bundle) -> None:
        text = "\n".join(text for _, text in bundle.modules(".cedar"))
        if not text.strip():
            raise PolicyError(
                "The bundle cannot be asked by Cedar.", why="It holds no *.cedar file."
            )
        try:
            self._policies = cedarpy.PolicySet.from_str(text)
            written = msgspec.json.decode(cedarpy.policies_to_json_str(text))
            self._entities = cedarpy.Entities.from_json_str("[]")
        except ValueError as error:
            raise PolicyError("The policies do not compile.", why=str(error)[:600]) from error
        self.version = bundle.version
        self.size = len(self._policies)
        self.words = frozenset(re.findall(r'"([^"\\\n]{1,80})"', text))
        self._reads_arguments = "arguments" in text
        self._notes: Mapping[str, Mapping[str, str]] = {
            name: one.get("annotations", {}) for name, one in written["staticPolicies"].items()
        }

    def reads_arguments(self, verb: str) -> bool:
        """Tell whether the text names arguments at all."""
        del verb
        return self._reads_arguments

    def ask(self, verb: str, question: bytes, target: str = "") -> bytes:
        """Return the decision document. Raises PolicyError."""
        del verb, target
        request = request_of(question)
        answer = cedarpy.is_authorized(request, self._policies, self._entities)
        if answer.diagnostics.errors:
            raise _failed(answer.diagnostics.errors)
        allow = answer.decision is cedarpy.Decision.Allow
        notes = [self._notes.get(one, {}) for one in answer.diagnostics.reasons]
        if not allow:
            told = [one.get("reason") or "a policy forbids it" for one in notes]
            return msgspec.json.encode(DecisionDocument(allow=False, reasons=told))
        owed = [one["obligation"] for one in notes if "obligation" in one]
        return msgspec.json.encode(DecisionDocument(allow=True, obligations=_owed(owed)))


class CedarAgentPolicy:
    """The policies of an agent. What is owed stands in the ids of its permits: `approval:why`."""

    def __init__(self, server: AskedServer) -> None:
        self._server = server
        self.version = "cedar"

    def reads_arguments(self, verb: str) -> bool:
        """Tell whether the agent is sent the arguments of such calls."""
        return verb in self._server.argued

    async def ask(self, verb: str, question: bytes, target: str = "") -> bytes:
        """Return the decision document. Raises EngineError, PolicyError."""
        del verb, target
        body = msgspec.json.encode(text_request_of(question))
        try:
            answer = msgspec.json.decode(
                await self._server.post(AGENT_PATH, body), type=_AgentAnswer
            )
        except msgspec.MsgspecError as error:
            raise PolicyError("The Cedar agent's answer cannot be read.", why=str(error)) from error
        if answer.diagnostics.errors:
            raise _failed(map(str, answer.diagnostics.errors))
        if answer.decision != "Allow":
            told = [f"forbidden by {one}" for one in answer.diagnostics.reason]
            return msgspec.json.encode(DecisionDocument(allow=False, reasons=told))
        owed = [one for one in answer.diagnostics.reason if one.partition(":")[0] in _KINDS]
        return msgspec.json.encode(DecisionDocument(allow=True, obligations=_owed(owed)))


def request_of(question: bytes) -> dict[str, Json]:
    """Return a question as Cedar is asked, with entities as JSON."""
    asked = _read(question)
    principal = asked.get("principal")
    who = principal if isinstance(principal, dict) else {}
    return {
        "principal": _entity("Principal", f"{who.get('kind', '')}:{who.get('name', '')}"),
        "action": _entity("Action", str(asked.get("verb", ""))),
        "resource": _entity("Target", str(asked.get("target", ""))),
        "context": _said(asked),
    }


def text_request_of(question: bytes) -> dict[str, Json]:
    """Return a question as an agent is asked, with entities as text; one that it cannot read is refused by it."""
    request = request_of(question)
    for part in ("principal", "action", "resource"):
        entity = request[part]
        if isinstance(entity, dict):
            name = str(entity["id"]).replace("\\", "\\\\").replace('"', '\\"')
            request[part] = f'{entity["type"]}::"{name}"'
    return request


def _entity(kind: str, name: str) -> Json:
    return {"type": f"Hive::{kind}", "id": name}


def _said(value: Json) -> Json:
    """Return a value without what Cedar has no word for."""
    if isinstance(value, dict):
        # These two names make Cedar take a record for something else.
        taken = ("__entity", "__extn")
        return {
            (f"_{key}" if key in taken else key): _said(one)
            for key, one in value.items()
            if one is not None
        }
    if isinstance(value, list):
        return [_said(one) for one in value if one is not None]
    if isinstance(value, float) or (type(value) is int and value not in _LONG):
        return str(value)
    return value


def _owed(lines: Iterable[str]) -> list[OwedLine]:
    owed = []
    for line in lines:
        kind, _, detail = line.partition(":")
        if kind.strip() not in _KINDS:
            raise PolicyError(
                "A permit owes what nobody can pay.", why=f"{line[:100]!r} is no obligation."
            )
        owed.append(OwedLine(ObligationKind(kind.strip()), detail.strip()))
    return owed


def _read(question: bytes) -> dict[str, Json]:
    found = msgspec.json.decode(question)
    return found if isinstance(found, dict) else {}


def _failed(errors: Iterable[object]) -> PolicyError:
    return PolicyError(
        "A policy could not be evaluated.", why="; ".join(str(one) for one in errors)[:600]
    )
