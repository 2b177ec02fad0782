"""The watchdog of a node: it reads every durable line, and what it decides holds at once and is on record."""

import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import anyio

from hive.core.call import Principal, PrincipalKind
from hive.core.clock import Clock
from hive.core.errors import BadInputError, HiveError
from hive.core.ids import AgentId
from hive.core.json import Json, decode
from hive.kernel.admission import CHECK_BROKE
from hive.ledger.entry import Entry, EntryKind
from hive.security.policy import QuestionCounters
from hive.security.watchdog import (
    Alarm,
    Breakers,
    Confinement,
    Quarantine,
    Reaction,
    RecentTally,
    Reputation,
    Watch,
    WatchRule,
    read_rules,
    shipped_rules,
)
from hive.security.watchdog.reputation import ALARM, BADLY, REFUSED, WELL
from hive.security.watchdog.standing_book import CountedLine

log: Final = logging.getLogger(__name__)
WAITING_MAX: Final = 4096
ALARMS_KEPT_MAX: Final = 500
RULES_FILE: Final = "watchdog.toml"
OWN: Final = "watchdog."
ALARM_RAISED: Final = "watchdog.alarm"
_GUARDING: Final = frozenset({"grant", "warrant", "policy", "labels", "guard"})
Note = Callable[[str, dict[str, Json], str], Awaitable[None]]
"""Write an event about an agent."""
Confine = Callable[[AgentId, str], Awaitable[None]]
"""What is done to an agent that is shut in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedLine:
    """What a line says of an agent: what it weighs, and whether it tells how a turn ended."""

    agent: str
    good: float = 0.0
    bad: float = 0.0
    refused: bool = False
    ended_well: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RaisedAlarm:
    """An alarm, and when it was raised."""

    at: datetime
    alarm: Alarm


class Watchdog:
    """Follows the ledger as its observer; `run` acts on alarms."""

    def __init__(
        self,
        *,
        quarantine: Quarantine,
        clock: Clock,
        note: Note,
        confine: Sequence[Confine] = (),
        release: Sequence[Confine] = (),
    ) -> None:
        self.quarantine = quarantine
        self.breakers = Breakers()
        self.reputation = Reputation()
        self.counted_to: CountedLine | None = None
        self._alarmed, self._refused = RecentTally(), RecentTally()
        self.alarms: deque[RaisedAlarm] = deque(maxlen=ALARMS_KEPT_MAX)
        self._watch = Watch(shipped_rules())
        self._clock = clock
        self._note = note
        self._confine = tuple(confine)
        self._release = tuple(release)
        self._send, self._receive = anyio.create_memory_object_stream[Alarm](WAITING_MAX)

    @property
    def rules(self) -> tuple[WatchRule, ...]:
        """Return the rules that stand."""
        return self._watch.rules

    def load_rules(self, folder: Path) -> None:
        """Add the rules of an operator; one with the id of a shipped rule takes its place.

        Raises:
            BadInputError: the file is there and is not one of rules.

        """
        self._watch.replace(rules_in(folder))

    def observe(self, entries: Sequence[Entry]) -> None:
        """Take note of durable lines; never blocks."""
        at_s = self._clock.monotonic()
        for entry in entries:
            if entry.kind is EntryKind.EVENT and entry.name.startswith(OWN):
                continue
            line = _line(entry)
            judged = _judged(line)
            if judged is not None:
                self._weigh(judged, at_s)
                if judged.ended_well is not None:
                    self.breakers.note(judged.agent, at_s, well=judged.ended_well)
            for alarm in self._watch.see(line, at_s):
                try:
                    self._send.send_nowait(alarm)
                except anyio.WouldBlock:
                    log.warning("watchdog.alarm_lost", extra={"rule": alarm.rule.id})
        self._count_to(entries)

    def recall(self, entries: Sequence[Entry], counted: CountedLine | None) -> None:
        """Count lines of before this node began: all for the last hour, those after `counted` for the standing."""
        now, now_s = self._clock.now(), self._clock.monotonic()
        for entry in entries:
            at_s = now_s - max(0.0, (now - entry.at).total_seconds())
            late = counted is None or _place(entry.chain, entry.sequence) > _place(
                counted.chain, counted.sequence
            )
            if entry.name == ALARM_RAISED and entry.agent:
                self._alarmed.add(entry.agent, at_s)
                if late:
                    self.reputation.add(entry.agent, at_s, bad=ALARM)
            elif (judged := _judged(_line(entry))) is not None:
                self._weigh(judged, at_s, counts=late)
        self._count_to(entries)

    def _weigh(self, judged: JudgedLine, at_s: float, *, counts: bool = True) -> None:
        if judged.refused:
            self._refused.add(judged.agent, at_s)
        if counts:
            self.reputation.add(judged.agent, at_s, good=judged.good, bad=judged.bad)

    def _count_to(self, entries: Sequence[Entry]) -> None:
        if entries:
            last = entries[-1]
            self.counted_to = CountedLine(chain=last.chain, sequence=last.sequence, at=last.at)

    async def run(self) -> None:
        """Act on alarms, until cancelled; what fails is told and does not stop the next."""
        async for alarm in self._receive:
            try:
                await self._react(alarm)
            except HiveError as error:
                log.warning("watchdog.reaction_failed", extra={"error": error.what})
            except Exception:  # one broken reaction must not end the watch
                log.exception("watchdog.reaction_crashed")

    async def _react(self, alarm: Alarm) -> None:
        rule, now = alarm.rule, self._clock.monotonic()
        self.alarms.append(RaisedAlarm(at=self._clock.now(), alarm=alarm))
        if alarm.agent:
            self.reputation.add(alarm.agent, now, bad=ALARM)
            self._alarmed.add(alarm.agent, now)
        if rule.reaction is Reaction.OPEN and alarm.agent:
            self.breakers.open(alarm.agent, now, rule.title)
        try:
            if rule.reaction is Reaction.QUARANTINE and alarm.agent:
                await self.shut(AgentId(alarm.agent), by=f"rule:{rule.id}", reason=rule.title)
        finally:
            # What was seen is on record, whatever becomes of the reaction.
            await self._note_alarm(alarm)

    async def _note_alarm(self, alarm: Alarm) -> None:
        rule = alarm.rule
        body: dict[str, Json] = {
            "rule": rule.id,
            "title": rule.title,
            "level": rule.level,
            "reaction": rule.reaction.value,
            "count": alarm.count,
            "group": alarm.group,
            "of_call": alarm.call,
            "of_task": alarm.task,
        }
        await self._note(ALARM_RAISED, body, alarm.agent)

    async def shut(self, agent: AgentId, *, by: str, reason: str) -> Confinement:
        """Shut an agent in: its calls are refused from this moment, its sandboxes end, its identity counts no more."""
        try:
            found = await self.quarantine.shut(agent, by=by, reason=reason)
        finally:
            # Also where the database is away: the gate knows it already, and what runs has to end.
            await self._each(self._confine, agent, reason)
        body: dict[str, Json] = {"by": by, "reason": found.reason}
        await self._note("watchdog.quarantined", body, agent)
        return found

    async def release(self, agent: AgentId, *, by: str) -> Confinement:
        """Let an agent out; it begins with a closed circuit. Raises NotFoundError."""
        found = await self.quarantine.release(agent)
        self.breakers.close(agent)
        await self._each(self._release, agent, found.reason)
        body: dict[str, Json] = {"by": by, "was": found.reason}
        await self._note("watchdog.released", body, agent)
        return found

    async def _each(self, steps: Sequence[Confine], agent: AgentId, reason: str) -> None:
        for step in steps:
            try:
                await step(agent, reason)
            except HiveError as error:
                # The gate knows already; what else is done must not hide that.
                log.warning("watchdog.step_failed", extra={"agent": agent, "error": error.what})
            except Exception:  # the steps after it are needed all the more
                log.exception("watchdog.step_crashed", extra={"agent": agent})

    def score(self, principal: Principal) -> float:
        """Return the standing of an agent that calls, between 0 and 1; 1 for anybody else."""
        agent = _calling(principal)
        return self.reputation.score(agent, self._clock.monotonic()) if agent else 1.0

    def counted(self, principal: Principal) -> QuestionCounters:
        """Return what an agent that calls did in the last hour; nothing for anybody else."""
        agent, now = _calling(principal), self._clock.monotonic()
        return QuestionCounters(
            alarms_last_hour=self._alarmed.count(agent, now),
            refusals_last_hour=self._refused.count(agent, now),
        )


def rules_in(folder: Path) -> tuple[WatchRule, ...]:
    """Return the rules that ship and those of a folder, which take the place of the shipped ones with their ids.

    Raises:
        BadInputError: the file is there and is not one of rules.

    """
    own = folder / RULES_FILE
    rules = {one.id: one for one in shipped_rules()}
    if own.exists():
        try:
            rules |= {one.id: one for one in read_rules(own.read_text("utf-8"))}
        except (OSError, UnicodeDecodeError) as error:
            raise BadInputError(f"{own} cannot be read.", why=str(error)) from error
    return tuple(rules.values())


def _calling(principal: Principal) -> str:
    return principal.agent or "" if principal.kind is PrincipalKind.AGENT else ""


def _judged(line: Mapping[str, Json]) -> JudgedLine | None:
    """Return what a line says of an agent, None where it says nothing."""
    agent, name, outcome = str(line.get("agent") or ""), str(line["name"]), line.get("outcome")
    if not agent:
        return None
    if line["kind"] == EntryKind.INTENT and line.get("decision") == "refused":
        # A check that broke says nothing of whoever called.
        guarded = line.get("check") in _GUARDING and line.get("reason") != CHECK_BROKE
        return JudgedLine(agent=agent, bad=REFUSED, refused=True) if guarded else None
    sent = line["kind"] == EntryKind.RESULT and name.startswith("send ")
    if not sent or outcome not in ("ok", "failed"):
        return None
    well = outcome == "ok"
    return JudgedLine(
        agent=name.removeprefix("send "),
        good=WELL * well,
        bad=BADLY * (not well),
        ended_well=well,
    )


def _place(chain: str, sequence: int) -> tuple[int, int]:
    """Return the order of lines of one node: epochs by their numbers, then lines."""
    epoch = chain.rpartition(".")[2]
    return (int(epoch) if epoch.isdigit() else 0, sequence)


def _line(entry: Entry) -> dict[str, Json]:
    """Return a line with the fields of its body beside its own, which win."""
    body = decode(entry.body.encode())
    return {
        **(body if isinstance(body, dict) else {}),
        "kind": entry.kind.value,
        "name": entry.name,
        "agent": entry.agent,
        "owner": entry.owner,
        "task": entry.task,
        "call": entry.call,
    }
