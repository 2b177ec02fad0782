"""What is asked of a policy, what it answers, and what an engine has to do for it."""

from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import msgspec

from hive.core.call import Obligation
from hive.security.policy.bundle import Bundle
from hive.security.roles import RoleBook


class QuestionPrincipal(msgspec.Struct, frozen=True, kw_only=True):
    """Who calls; all of it is text, empty where there is nothing to say."""

    kind: str
    name: str
    owner: str = ""
    agent: str = ""
    spiffe_id: str = ""


class QuestionLabel(msgspec.Struct, frozen=True, kw_only=True):
    """Where something that the call carries comes from, and who may read it. An empty list of readers is anybody."""

    integrity: str
    sources: tuple[str, ...] = ()
    readers: tuple[str, ...] = ()


class QuestionCounters(msgspec.Struct, frozen=True, kw_only=True):
    """What the watchdog counted of the agent that calls, in the last hour; zero for anybody else.

    Refusals are those by a check that guards something, as far as they are on record.
    """

    alarms_last_hour: int = 0
    refusals_last_hour: int = 0


class PolicyQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """One call as a policy sees it: the document `input` of Rego, the context of Cedar.

    What stands as `object` is JSON. `arguments` is what the call asks with; None where it is something else, or where no rule of the bundle
    looks at the arguments of this verb. `grant` is the digest of the caller's grant, `warrant` a summary of the
    warrant, `reputation` how far the agent that calls has kept its trust (1 where nothing is held against it, and for
    anybody who is no agent), `relations` the answers to what the bundle's `relations.json` asks, found at the revision
    `relations_at`.
    """

    principal: QuestionPrincipal
    verb: str
    target: str
    effect: str
    time: datetime
    labels: tuple[QuestionLabel, ...] = ()
    arguments: object = None
    grant: str = ""
    warrant: Mapping[str, object] = {}
    tier: str = ""
    facts: Mapping[str, object] = {}
    reputation: float = 1.0
    counters: QuestionCounters = QuestionCounters()
    relations: Mapping[str, bool] = {}
    relations_at: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyDecision:
    """What a policy said. Reasons may be told to the caller; `fault` says what broke, for the ledger only."""

    allow: bool
    version: str
    reasons: tuple[str, ...] = ()
    obligations: tuple[Obligation, ...] = ()
    fault: str = ""


class PolicyEngine(Protocol):
    """Answers questions. Whatever goes wrong is an answer as well: no."""

    async def decide(self, question: PolicyQuestion) -> PolicyDecision:
        """Tell whether a call may happen, why not, and what is owed for it."""
        ...


class CompiledPolicy(Protocol):
    """One bundle, ready to be asked. It is asked on the thread that compiled it."""

    version: str

    def reads_arguments(self, verb: str) -> bool:
        """Tell whether any rule looks at the arguments of calls with this verb."""
        ...

    def ask(self, verb: str, question: bytes, target: str = "") -> bytes | Awaitable[bytes]:
        """Return the decision document as JSON for a question as JSON; verb and target are those of the question.

        Raises:
            HiveError: there is none; the call is refused.

        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TestOutcome:
    """How one test of a bundle ended; `problem` is empty where it passed."""

    __test__ = False

    name: str
    file: str
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialReport:
    """What a bundle did while it was tried. It may stand where `problems` is empty and every test passed."""

    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    tests: tuple[TestOutcome, ...] = ()
    rules: int = 0

    @property
    def passed(self) -> bool:
        """Tell whether the bundle may stand."""
        return not self.problems and not any(one.problem for one in self.tests)


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """A decision with the lines of rules that took part in it, by file; empty where the engine cannot tell."""

    document: bytes
    lines: Mapping[str, tuple[tuple[int, str], ...]]


class RoleOpening(RoleBook, Protocol):
    """A book of roles, made from the URL that names it. Raises ConfigError."""

    def __init__(self, url: str) -> None: ...


class PolicyDriver(Protocol):
    """One kind of engine, made from the URL that names it."""

    takes_bundle: bool
    """False where the rules live in the engine itself, beyond this node."""

    def __init__(self, url: str, *, timeout_s: float) -> None: ...

    async def trial(self, bundle: Bundle) -> TrialReport:
        """Compile and test a bundle where a crash harms nobody."""
        ...

    async def compile(self, bundle: Bundle) -> CompiledPolicy:
        """Make a bundle ready to be asked, on this thread.

        Raises:
            PolicyError: it does not compile.
            EngineError: the engine cannot be reached.

        """
        ...

    async def explain(self, bundle: Bundle, question: bytes) -> Explanation:
        """Answer one question where a crash harms nobody, and tell which lines took part.

        Raises:
            PolicyError: there is no answer.

        """
        ...

    async def aclose(self) -> None:
        """Let go of connections."""
        ...
