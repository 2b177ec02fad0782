"""Kills node, engines, launcher and sandboxes at random while clients work; then counts what is left.

    python -m tests.chaos.storm          # the figures, as JSON

`CHAOS_TASKS` are kept in flight for `CHAOS_SECONDS`, with a kill every `CHAOS_PAUSE_S` or
so; `CHAOS_SEED` repeats the dice (not the machine's timing).
"""

import json
import os
import random
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path

from hive.core.task import TaskState
from hive.testing.node_process import NodeProcess, SentTask, WrongAnswerError
from tests.chaos.victims import KINDS, Household, groups_of, kill, sandbox_groups, victim
from tests.end_to_end.counter import CountingServer, counting_server

SOURCE = Path(__file__).parent / "agents" / "errands.py"
NEEDS = {"relay": '[needs]\nagents = ["shout"]\n'}
POOL = {"shout": 2}
AGENTS = ("shout", "think", "relay", "count")
CLIENTS = 6
NOT_ANSWERED = (OSError, HTTPException, ValueError, WrongAnswerError)


@dataclass(frozen=True)
class StormSize:
    """How hard it blows."""

    tasks: int = 60
    seconds: float = 20.0
    pause_s: float = 1.5
    settle_s: float = 180.0
    seed: int = 1


@dataclass
class Errand:
    """One task that a client was promised."""

    agent: str
    text: str
    expected: str
    task: str = ""
    place: str = ""
    last: SentTask | None = None


@dataclass
class StormReport:
    """What was promised and what became of it."""

    promised: int = 0
    in_flight_max: int = 0
    in_flight_mean: float = 0.0
    kills: Counter[str] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)
    unsettled: list[str] = field(default_factory=list)
    repeatable: int = 0
    wrong: list[str] = field(default_factory=list)
    once: int = 0
    once_states: Counter[str] = field(default_factory=Counter)
    once_wrong: list[str] = field(default_factory=list)
    counted_twice: list[str] = field(default_factory=list)
    counted_elsewhere: int = 0
    chain: str = ""
    orphans: list[str] = field(default_factory=list)
    folders_left: list[str] = field(default_factory=list)
    groups_left: list[str] = field(default_factory=list)
    settled_after_s: float = 0.0
    node_starts_s: list[float] = field(default_factory=list)

    @property
    def right_share(self) -> float:
        """Return the share of right answers among all tasks that no open *once* effect parked."""
        parked = self.once_states[TaskState.AUTH_REQUIRED.value]
        wrong = len(self.wrong) + len(self.once_wrong)
        return 1.0 - wrong / max(1, self.promised - parked)

    def told(self) -> dict[str, object]:
        """Return the figures as JSON values."""
        return {**self.__dict__, "right_share": round(self.right_share, 5)}


class Storm:
    """One run."""

    def __init__(self, size: StormSize, node: NodeProcess, counter: CountingServer) -> None:
        self.size = size
        self.node = node
        self.counter = counter
        self.report = StormReport()
        self.household = Household()
        self.earlier_groups = set(sandbox_groups())
        self.dice = random.Random(size.seed)
        self.errands: list[Errand] = []
        self.open: dict[int, Errand] = {}
        self.lock = threading.Lock()
        self.blowing = threading.Event()
        self.numbers = iter(range(10_000_000))
        self.samples: list[int] = []

    def deploy(self, folder: Path) -> None:
        """Deploy the agents, each from a folder of its own."""
        for name in AGENTS:
            place = folder / name
            place.mkdir(parents=True)
            shutil.copy(SOURCE, place / "errands.py")
            limits = f"[limits]\nsandboxes_max = {POOL.get(name, 1)}\n"
            text = f'name = "{name}"\nentry = "errands.py:{name}"\n{NEEDS.get(name, "")}{limits}'
            (place / "hive-agent.toml").write_text(text)
            more = ("--host-allow", self.counter.address) if name == "count" else ()
            self.node.hive("run", str(place), "--name", name, "--yes", *more)

    def blow(self) -> None:
        """Let clients work and kill at random, until the time is over."""
        self.blowing.set()
        clients = [threading.Thread(target=self._client, args=(n,)) for n in range(CLIENTS)]
        for client in clients:
            client.start()
        ends_at = time.monotonic() + self.size.seconds
        while time.monotonic() < ends_at:
            time.sleep(self.dice.uniform(0.3, 1.7) * self.size.pause_s)
            self._kill_one(self.dice.choice((*KINDS, "node")))
        self.blowing.clear()
        for client in clients:
            client.join()

    def calm(self) -> None:
        """Wait until every promised task is at rest, then look at each once more."""
        began = time.monotonic()
        while self.open and time.monotonic() - began < self.size.settle_s:
            for number, errand in list(self.open.items()):
                if self._settled(errand):
                    self.open.pop(number, None)
            time.sleep(0.2)
        self.report.settled_after_s = round(time.monotonic() - began, 1)
        for errand in self.errands:
            self._judge(errand)
        self._count()
        self.report.chain = self.node.hive("audit", "verify", timeout_s=300).strip()
        self.household.look(self.node.pid)

    def clear(self, folders: tuple[Path, ...]) -> None:
        """End the node and look for what it left."""
        self.node.stop()
        ends_at = time.monotonic() + 5.0
        while self.household.alive() and time.monotonic() < ends_at:
            time.sleep(0.05)
        self.report.orphans = self.household.alive()
        self.report.folders_left = [str(p) for folder in folders for p in folder.iterdir()]
        launchers = {process.pid for process in self.household.seen}
        self.report.groups_left = groups_of(launchers, not_those=self.earlier_groups)
        self.report.in_flight_max = max(self.samples, default=0)
        self.report.in_flight_mean = round(sum(self.samples) / max(1, len(self.samples)), 1)

    def _client(self, number: int) -> None:
        dice = random.Random(self.size.seed * 1000 + number)
        while self.blowing.is_set():
            self.samples.append(len(self.open))
            if len(self.open) < self.size.tasks:
                self._promise(dice)
                continue
            with self.lock:
                key, errand = dice.choice(list(self.open.items()))
            if self._settled(errand):
                self.open.pop(key, None)

    def _promise(self, dice: random.Random) -> None:
        number = next(self.numbers)
        errand = self._errand(number, dice)
        try:
            errand.task = self.node.send(errand.agent, errand.text, wait=False).id
        except NOT_ANSWERED:
            time.sleep(0.05)  # not a wait for anything: a client that was refused breathes
            return
        with self.lock:
            self.errands.append(errand)
            self.open[number] = errand

    def _errand(self, number: int, dice: random.Random) -> Errand:
        agent = dice.choice(AGENTS)
        mark, seconds = f"mark{number}", f"{dice.uniform(0, 0.1):.3f}"
        if agent == "count":
            path = f"/{number}"
            text = f"{self.counter.address}{path} {seconds}"
            return Errand(agent, text, "counted 1", place=path)
        expected = {
            "shout": mark.upper(),
            "relay": f"relayed {mark.upper()}",
            "think": f"scripted answer to: scripted answer to: {mark}",
        }[agent]
        return Errand(agent, f"{mark} {seconds}", expected)

    def _settled(self, errand: Errand) -> bool:
        try:
            errand.last = self.node.task(errand.agent, errand.task)
        except NOT_ANSWERED:
            return False
        return errand.last.state.terminal or errand.last.state.interrupted

    def _judge(self, errand: Errand) -> None:
        report = self.report
        report.promised += 1
        try:
            last = self.node.task(errand.agent, errand.task)
        except NOT_ANSWERED as error:
            report.lost.append(f"{errand.agent} {errand.task}: {error}"[:300])
            return
        at_rest = last.state.terminal or last.state.interrupted
        told = f"{errand.agent} {errand.task} {last.state} {last.answer!r} {last.said!r}"[:300]
        if not at_rest:
            report.unsettled.append(told)
        if errand.agent == "count":
            report.once += 1
            report.once_states[last.state.value] += 1
            right = last.answer == errand.expected
            if last.state is not TaskState.AUTH_REQUIRED and not right:
                report.once_wrong.append(told)
            return
        report.repeatable += 1
        if last.state is not TaskState.COMPLETED or last.answer != errand.expected:
            report.wrong.append(told)

    def _count(self) -> None:
        promised = {errand.place for errand in self.errands if errand.place}
        for path, times in self.counter.counts.items():
            if times > 1:
                self.report.counted_twice.append(f"{path}: {times}")
            if path not in promised:
                self.report.counted_elsewhere += 1

    def _kill_one(self, kind: str) -> None:
        if kind == "node":
            self.household.look(self.node.pid)
            self.node.kill()
            began = time.monotonic()
            self.node.start()
            self.report.node_starts_s.append(round(time.monotonic() - began, 2))
            self.report.kills["node"] += 1
            return
        pid = victim(self.household, self.node.pid, kind, self.dice)
        if pid:
            kill(pid)
            self.report.kills[kind] += 1


def size_from_environment() -> StormSize:
    """Read the parameters."""
    given = os.environ  # noqa: TID251 - parameters of a measurement
    return StormSize(
        tasks=int(given.get("CHAOS_TASKS", StormSize.tasks)),
        seconds=float(given.get("CHAOS_SECONDS", StormSize.seconds)),
        pause_s=float(given.get("CHAOS_PAUSE_S", StormSize.pause_s)),
        settle_s=float(given.get("CHAOS_SETTLE_S", StormSize.settle_s)),
        seed=int(given.get("CHAOS_SEED", StormSize.seed)),
    )


@contextmanager
def _short_folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="hc-"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def run_storm(size: StormSize, folder: Path) -> StormReport:
    """Start a node in `folder`, let it storm, and tell what became of every promise."""
    with _short_folder() as temporary, counting_server() as counter:
        environment = {"TMPDIR": str(temporary), "HIVE_MODELS": "scripted:"}
        node = NodeProcess(folder / "state", environment)
        node.start()
        try:
            storm = Storm(size, node, counter)
            storm.deploy(folder / "agents")
            storm.blow()
            storm.calm()
            storm.clear((temporary,))
        finally:
            node.kill()
    return storm.report


def main() -> int:
    """Run it and print the figures."""
    with tempfile.TemporaryDirectory(prefix="hive-chaos-", ignore_cleanup_errors=True) as folder:
        report = run_storm(size_from_environment(), Path(folder))
        if kept := os.environ.get("CHAOS_KEEP"):  # noqa: TID251
            shutil.copytree(folder, kept, ignore_dangling_symlinks=True)
    json.dump(report.told(), sys.stdout, indent=2, default=str)
    sys.stdout.write("\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
