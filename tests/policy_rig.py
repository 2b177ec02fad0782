"""What tests of policy stand on: bundles of a few lines, questions, and a standing policy whose events are kept."""

from datetime import UTC, datetime
from pathlib import Path

import anyio
import anyio.lowlevel

from hive.core.json import Json
from hive.core.settings import Settings
from hive.security.policy import PolicyQuestion, QuestionPrincipal, StandingPolicy
from hive.security.policy.bundle import Bundle, bundle_of, declare
from hive.testing.clock import StoppedClock

AT = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
MAIN = """package hive.policy
decision := {"allow": allow, "reasons": deny, "obligations": owe}
default allow := false
allow if { input.verb in {"send", "invoke", "ask", "reach", "recall", "remember", "spawn"}; count(deny) == 0 }
deny contains reason if some reason in data.hive.rules.every.deny
deny contains reason if { input.verb == "invoke"; some reason in data.hive.rules.invoke.deny }
deny contains reason if { input.verb == "reach"; some reason in data.hive.rules.reach.deny }
owe contains duty if some duty in data.hive.rules.every.owe
owe contains duty if { input.verb == "invoke"; some duty in data.hive.rules.invoke.owe }
"""


def rego(rules: str = "", *, package: str = "hive.rules.invoke", **more: str) -> Bundle:
    """Return a bundle that allows what `rules` do not deny; `more` are further files, the last `_` of a name for its dot."""
    files = {"main.rego": MAIN, "rules.rego": f"package {package}\n{rules}"}
    for name, text in more.items():
        stem, _, kind = name.rpartition("_")
        files[f"{stem}.{kind}"] = text
    return bundle_of({name: text.encode() for name, text in files.items()})


def named(bundle: Bundle, version: int, name: str = "house") -> Bundle:
    return declare(bundle, name=name, version=version)


def question(
    target: str = "mail.send", *, verb: str = "invoke", arguments: Json = None, **more: object
) -> PolicyQuestion:
    return PolicyQuestion(
        principal=QuestionPrincipal(kind="agent", name="scribe", owner="alice", agent="scribe"),
        verb=verb,
        target=target,
        effect="once",
        time=AT,
        arguments=arguments,
        **more,
    )


def lay_out(bundle: Bundle, folder: Path) -> Path:
    for name, data in bundle.files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


class PolicyRoom:
    """A standing policy over a state folder, with what it told."""

    def __init__(self, state: Path, **settings: object) -> None:
        self.told: list[tuple[str, dict[str, Json]]] = []
        self.clock = StoppedClock(AT)
        self._news = anyio.Event()
        self.settings = Settings(state_dir=str(state), **settings)
        self.policy = StandingPolicy(settings=self.settings, clock=self.clock, emit=self._emit)

    async def _emit(self, name: str, body: dict[str, Json]) -> None:
        self.told.append((name, body))
        self._news.set()
        self._news = anyio.Event()

    async def until(self, name: str, count: int) -> None:
        """Wait until an event was told so often, and what follows from it."""
        with anyio.fail_after(120):
            while self.names().count(name) < count:
                await self._news.wait()
            await anyio.lowlevel.checkpoint()

    def names(self) -> list[str]:
        return [name for name, _ in self.told]

    async def put(self, bundle: Bundle, **how: object) -> None:
        await self.policy.load(bundle.archive(), by="operator", **how)
