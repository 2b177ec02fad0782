"""The policy that stands: asked for every call, replaced whole, and never by something that was not tried.

Where it comes from, first that is set: the folder or archive that `HIVE_POLICY_BUNDLE` names, read again when it changes;
what `hive policy load` was given last, kept in the state folder; the bundle that Hive ships. Where the one that should
stand cannot be had, none stands, and without a policy every call is refused.
"""

import logging
import time
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import as_file, files
from pathlib import Path
from typing import Final, Protocol, TypeAlias

import anyio
import msgspec

from hive.core.call import Obligation
from hive.core.clock import Clock
from hive.core.errors import HiveError, PolicyError
from hive.core.ids import plain_text
from hive.core.json import Json
from hive.core.settings import Settings
from hive.security.policy.bundle import Bundle, bundle_of, declare, read_bundle, unpacked
from hive.security.policy.drivers import POLICIES
from hive.security.policy.ports import (
    CompiledPolicy,
    Explanation,
    PolicyDecision,
    PolicyDriver,
    PolicyQuestion,
    TrialReport,
)
from hive.security.policy.question import (
    ANSWER_MAX_BYTES,
    OBLIGATIONS_MAX,
    REASON_MAX_CHARS,
    REASONS_MAX,
    DecisionDocument,
    encoded,
)
from hive.security.policy.related import RELATED, RelationQuestion, questions_for
from hive.security.policy.shelf import PolicyShelf
from hive.security.policy.signing import TrustedKeys, read_keys

log: Final = logging.getLogger(__name__)
CHECK: Final = "policy"
DEFAULT_NAME: Final = "hive-default"
DEFAULT_VERSION: Final = 1
GRACE_S: Final = 1.0
DECISION_CPU_S: Final = 0.25
FAULT_PAUSE_S: Final = 60.0
FAULTS_MAX: Final = 64
WHY_MAX_CHARS: Final = 400
Fingerprint: TypeAlias = tuple[tuple[str, int, int, int], ...]
_DOCUMENT: Final = msgspec.json.Decoder(DecisionDocument)


class PolicyEmit(Protocol):
    """Writes an event to the ledger."""

    def __call__(self, name: str, body: dict[str, Json]) -> Awaitable[None]:
        """Write it."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class StandingBundle:
    """What stands now. `bundle` is None where the rules live in another server."""

    compiled: CompiledPolicy
    bundle: Bundle | None
    source: str
    signer: str
    since: datetime


class StandingPolicy:
    """The policy engine of a node. Used on the node's own loop."""

    def __init__(self, *, settings: Settings, clock: Clock, emit: PolicyEmit) -> None:
        self._settings = settings
        self._clock = clock
        self._emit = emit
        self._timeout_s = settings.policy_timeout_s
        self._shelf = PolicyShelf(settings.state / "policy")
        self._driver: PolicyDriver = POLICIES.load(settings.policy_url)(
            settings.policy_url, timeout_s=settings.policy_timeout_s
        )
        self._standing: StandingBundle | None = None
        self._lock = anyio.Lock()
        self._faults: dict[str, float] = {}
        self._seen: Fingerprint = ()
        self.problem = ""
        """Why nothing stands, or why what should stand does not."""

    @property
    def standing(self) -> StandingBundle | None:
        """Return what stands, None where every call is refused."""
        return self._standing

    @property
    def version(self) -> str:
        """Return the version that stands; approvals are bound to it."""
        return "" if self._standing is None else self._standing.compiled.version

    def reads_arguments(self, verb: str) -> bool:
        """Tell whether a question of this verb has to carry its arguments."""
        return self._standing is not None and self._standing.compiled.reads_arguments(verb)

    def relations(self, verb: str, target: str) -> Mapping[str, RelationQuestion]:
        """Return which relationships the rules want to know of such a call."""
        bundle = None if self._standing is None else self._standing.bundle
        if bundle is None or RELATED not in bundle.files:
            return {}
        return questions_for(bundle.files[RELATED], verb, target)

    async def open(self) -> None:
        """Put up what should stand. What cannot be put up is told by `problem`, and refuses every call."""
        try:
            async with self._lock:
                await self._put_up_first()
        except (HiveError, OSError) as error:
            await self._refuse_bundle(error, source=self._settings.policy_bundle)

    async def decide(self, question: PolicyQuestion) -> PolicyDecision:
        """Answer a question; whatever goes wrong is a no."""
        standing = self._standing
        if standing is None:
            return _no("", "no policy stands, so nothing may happen", fault=self.problem)
        began = time.thread_time()
        try:
            answer = standing.compiled.ask(question.verb, encoded(question), question.target)
            took_s = time.thread_time() - began
            if not isinstance(answer, bytes):
                with anyio.fail_after(self._timeout_s + GRACE_S):
                    answer = await answer
            decision = decision_of(answer, standing.compiled.version)
        except Exception as error:  # noqa: BLE001  whatever an engine throws is a refusal
            fault = _why(error)
        else:
            if took_s <= DECISION_CPU_S:
                return decision
            fault = f"the answer took {took_s:.2f} s of processor time"
        await self._tell_fault(standing.compiled.version, fault)
        return _no(standing.compiled.version, "the policy could not answer", fault=fault)

    async def load(self, archive: bytes, *, by: str, older: bool = False) -> StandingBundle:
        """Put up a bundle that an operator hands over, and keep it.

        With `older`, a lower version than was seen before may stand again.

        Raises:
            PolicyError: it may not stand; what stood before still does.

        """
        if self._settings.policy_bundle or not self._driver.takes_bundle:
            raise PolicyError(
                "This node's policy is not given by hand.",
                why=f"It comes from {self._settings.policy_bundle or self._settings.policy_url}.",
                fix="Change it there, or unset HIVE_POLICY_BUNDLE and HIVE_POLICY_URL.",
            )
        async with self._lock:
            try:
                bundle = bundle_of(unpacked(archive))
                stands = await self._put_up(bundle, source="loaded", by=by, older=older)
            except HiveError as error:
                await self._refuse_bundle(error, source=f"by {by}", keep=True)
                raise
            self._shelf.keep(bundle)
            return stands

    async def load_default(self, *, by: str) -> StandingBundle:
        """Put up the shipped bundle again. Raises PolicyError."""
        async with self._lock:
            self._shelf.clear()
            return await self._put_up(shipped_bundle(), source="shipped", by=by, trusted=True)

    async def watch(self) -> None:
        """Follow changes of what `HIVE_POLICY_BUNDLE` names, until cancelled."""
        named = self._settings.policy_bundle
        if not named or not self._driver.takes_bundle:
            return
        while True:
            await anyio.sleep(self._settings.policy_watch_s)
            found = fingerprint(Path(named))
            if found == self._seen:
                continue
            self._seen = found
            async with self._lock:
                try:
                    await self._put_up(read_bundle(Path(named)), source=named, by="watch")
                except (HiveError, OSError) as error:
                    await self._refuse_bundle(error, source=named, keep=True)

    async def explain(self, question: PolicyQuestion) -> Explanation:
        """Answer a question beside the calls, and tell which lines took part. Raises PolicyError."""
        if self._standing is None or self._standing.bundle is None:
            raise PolicyError("Nothing stands here that could be explained.", why=self.problem)
        return await self._driver.explain(self._standing.bundle, encoded(question))

    async def trial(self, bundle: Bundle) -> TrialReport:
        """Try a bundle without putting it up."""
        return await self._driver.trial(bundle)

    async def answers(self, bundle: Bundle) -> CompiledPolicy:
        """Compile a bundle beside the one that stands, after its trial. Raises PolicyError."""
        passed(await self._driver.trial(bundle))
        return await self._driver.compile(bundle)

    async def aclose(self) -> None:
        """Let go of the engine; from now on every call is refused."""
        self._standing = None
        await self._driver.aclose()

    async def _put_up_first(self) -> None:
        named = self._settings.policy_bundle
        if not self._driver.takes_bundle:
            bundle = shipped_bundle()
            compiled = await self._driver.compile(bundle)
            await self._swap(
                compiled, None, source=self._settings.policy_url, signer="", by="start"
            )
        elif named:
            self._seen = fingerprint(Path(named))
            await self._put_up(read_bundle(Path(named)), source=named, by="start")
        elif (kept := self._shelf.kept()) is not None:
            await self._put_up(kept, source="loaded", by="start")
        else:
            await self._put_up(shipped_bundle(), source="shipped", by="start", trusted=True)

    async def _put_up(
        self, bundle: Bundle, *, source: str, by: str, older: bool = False, trusted: bool = False
    ) -> StandingBundle:
        """Check whose a bundle is and how old, try it, compile it, and let it stand. Raises PolicyError."""
        signer = "" if trusted else self._vouched(bundle)
        if not trusted and not older:
            self._shelf.check_not_older(bundle)
        # What ships with Hive is tried by Hive's own tests.
        if not trusted and not self._shelf.was_tried(bundle, self._settings.policy_url):
            passed(await self._driver.trial(bundle))
            self._shelf.note_tried(bundle, self._settings.policy_url)
        compiled = await self._driver.compile(bundle)
        if not trusted:
            self._shelf.note_version(bundle)
        return await self._swap(compiled, bundle, source=source, signer=signer, by=by)

    def _vouched(self, bundle: Bundle) -> str:
        signer = self.keys().signer_of(bundle)
        if not signer and self._settings.production:
            raise PolicyError(
                "In production a bundle has to be signed.",
                why="It has no signature.",
                fix=f"hive policy sign BUNDLE --key FILE     with its public half in {self.keys_folder}",
            )
        return signer

    @property
    def keys_folder(self) -> Path:
        """Return where trusted keys lie."""
        return Path(self._settings.policy_keys or self._settings.state / "policy" / "keys")

    def keys(self) -> TrustedKeys:
        """Return the trusted keys. Raises PolicyError."""
        return read_keys(self.keys_folder)

    async def _swap(
        self,
        compiled: CompiledPolicy,
        bundle: Bundle | None,
        *,
        source: str,
        signer: str,
        by: str,
    ) -> StandingBundle:
        before = self.version
        stands = StandingBundle(
            compiled=compiled, bundle=bundle, source=source, signer=signer, since=self._clock.now()
        )
        # Written first: a call must not be judged by a policy of which the record does not know.
        await self._emit(
            "policy.loaded",
            {
                "version": compiled.version,
                "before": before,
                "source": source,
                "signer": signer,
                "by": by,
            },
        )
        self._standing, self.problem = stands, ""
        return stands

    async def _refuse_bundle(self, error: Exception, *, source: str, keep: bool = False) -> None:
        self.problem = _why(error)
        if not keep:
            self._standing = None
        log.warning("policy.refused", extra={"why": self.problem})
        await self._emit(
            "policy.refused", {"why": self.problem, "source": source, "stands": self.version}
        )

    async def _tell_fault(self, version: str, fault: str) -> None:
        """Write a fault to the ledger, the same one once a minute."""
        now, key = self._clock.monotonic(), f"{version} {fault}"
        if now - self._faults.get(key, -FAULT_PAUSE_S) < FAULT_PAUSE_S:
            return
        while len(self._faults) >= FAULTS_MAX:
            del self._faults[next(iter(self._faults))]
        self._faults[key] = now
        try:
            await self._emit("policy.fault", {"version": version, "why": fault})
        except HiveError as error:
            log.warning("policy.fault_not_written", extra={"why": error.what})


def shipped_bundle() -> Bundle:
    """Return the bundle that Hive ships."""
    with as_file(files("hive.security.policy") / "default_bundle") as folder:
        return declare(read_bundle(folder), name=DEFAULT_NAME, version=DEFAULT_VERSION)


def decision_of(answer: bytes, version: str) -> PolicyDecision:
    """Read a decision document.

    Raises:
        ValueError: it is none, or too large.

    """
    if len(answer) > ANSWER_MAX_BYTES:
        message = f"the decision has {len(answer)} bytes"
        raise ValueError(message)
    found = _DOCUMENT.decode(answer)
    if len(found.obligations) > OBLIGATIONS_MAX:
        message = f"the decision has {len(found.obligations)} obligations"
        raise ValueError(message)
    reasons = _reasons(found.reasons)
    if not found.allow:
        return PolicyDecision(
            allow=False, version=version, reasons=reasons or ("no rule allows it",)
        )
    obligations = tuple(
        Obligation(kind=one.kind, check=CHECK, detail=plain_text(one.detail[:REASON_MAX_CHARS]))
        for one in sorted(found.obligations, key=lambda one: (one.kind, one.detail))
    )
    return PolicyDecision(allow=True, version=version, reasons=reasons, obligations=obligations)


def passed(report: TrialReport) -> None:
    """Return where a bundle passed its trial.

    Raises:
        PolicyError: it did not.

    """
    if report.passed:
        return
    failed = [f"{one.name}: {one.problem}" for one in report.tests if one.problem]
    told = [*report.problems, *failed]
    raise PolicyError(
        "The bundle did not pass its trial.",
        why="".join(f"\n  - {one}" for one in told[:10]),
        fix="hive policy test BUNDLE",
    )


def fingerprint(path: Path) -> Fingerprint:
    """Return what changes when a bundle's files change; empty where it cannot be looked at."""
    found = []
    try:
        for one in sorted([path, *path.rglob("*")] if path.is_dir() else [path]):
            about = one.lstat()
            found.append((str(one), about.st_mtime_ns, about.st_size, about.st_ino))
    except OSError:
        return ()
    return tuple(found)


def _reasons(told: Sequence[str]) -> tuple[str, ...]:
    return tuple(plain_text(one[:REASON_MAX_CHARS]) for one in sorted(told)[:REASONS_MAX])


def _no(version: str, reason: str, *, fault: str) -> PolicyDecision:
    return PolicyDecision(allow=False, version=version, reasons=(reason,), fault=fault)


def _why(error: Exception) -> str:
    if isinstance(error, HiveError):
        text = f"{error.what} {error.why}".strip()
    else:
        text = f"{type(error).__name__}: {error}"
    return plain_text(text, keep="\n")[:WHY_MAX_CHARS]
