"""`hive demo`: three agents at work, and three things that the walls and the gate stop.

The transcript is made from what was recorded (tasks, trace, logs), never from what was expected: an
attempt that got through is shown as such and ends with exit code 1.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from importlib.resources import as_file, files
from pathlib import Path
from typing import Final

import click

from hive.cli.client import OperatorClient, segment
from hive.cli.demo_story import AGENTS, PLANNER, QUESTION, Evidence, Story, tell
from hive.cli.errors import EXIT_FAILED
from hive.cli.render import engine_words, wall_words
from hive.cli.session import (
    Options,
    fact,
    moving,
    on_terminal,
    paint,
    say,
    shared_options,
    show,
    show_json,
    took,
)
from hive.core.clock import SystemClock
from hive.core.errors import HiveError, StateError
from hive.web.values import (
    AgentStatus,
    CallEvent,
    CallOrder,
    DeployOrder,
    DeployPlan,
    DeployStep,
    LogRecord,
    NodeStatus,
    Piece,
    TaskReport,
    TaskSummaries,
    TraceTree,
)

SETTLE_TIMEOUT_S: Final = 3.0
POLL_S: Final = 0.05
LOG_LINES_MAX: Final = 500
_DECOY: Final = "This file stands in for a private key. No agent of the demo may read it.\n"


@click.command(help="See it work: three agents, no key, no network.")
@shared_options
def demo(*, options: Options) -> int:
    """Run the demo on the node that runs, or on one of its own."""
    client = options.client()
    if client.alive():
        return 0 if _perform(options, client, stays=True) else EXIT_FAILED
    stays = on_terminal() and not options.json
    outcome: list[bool] = []

    def work() -> bool:
        outcome.append(_perform(options, client, stays=stays))
        return stays and outcome[0]

    from hive.cli.node_entry import serve

    try:
        if serve(options.settings(), work):
            say(options, "Stopped.")
    except KeyboardInterrupt:
        say(options, "Stopped.")
        return 0
    return EXIT_FAILED if outcome == [False] else 0


def _perform(options: Options, client: OperatorClient, *, stays: bool) -> bool:
    """Deploy, ask, gather what is on record, tell it; return whether everything held."""
    status = client.get("status", NodeStatus)
    with as_file(files("hive.cli") / "demo_agents") as folder, _deployed(options, client, folder):
        walls = client.get(f"agents/{segment(PLANNER)}", AgentStatus).walls
        if not options.json:
            ready = f"ready in {took(status.ready_ms)}" if status.ready_ms is not None else ""
            show(f"Hive {status.version}   offline demo   no key, no network")
            show(fact("engines", engine_words(status.engines), ready))
            show(fact("walls", wall_words(walls), f"{len(AGENTS)} agents inside"))
            show()
        evidence = _work(options, client)
    story = tell(evidence)
    _print(options, story, address=status.address if stays else "")
    return story.held


def _work(options: Options, client: OperatorClient) -> Evidence:
    began = SystemClock().now()
    task_id = state = ""
    with _key_file(options.settings().state) as key:
        order = CallOrder(pieces=[Piece(text=QUESTION), Piece(data={"home": str(key.parents[1])})])
        with moving(options, "three agents are working") as line:
            path = f"agents/{segment(PLANNER)}/call"
            for event in client.lines("POST", path, CallEvent, body=order):
                task_id, state = event.task_id or task_id, event.state or state
                if event.kind == "refused":
                    raise StateError("The gate refused the demo's question.", why=event.text)
            line.update("reading what was recorded")
            return Evidence(
                state=state,
                key=str(key),
                key_opens_outside=key.read_text() != "",
                tasks={name: _last_task(client, name) for name in AGENTS},
                trace=client.get(f"trace/{segment(task_id)}", TraceTree),
                logs=_logs(client, began),
            )


def _last_task(client: OperatorClient, name: str) -> TaskReport | None:
    found = client.get("tasks", TaskSummaries, agent=name, limit="1").tasks
    return client.get(f"tasks/{segment(found[0].id)}", TaskReport) if found else None


def _logs(client: OperatorClient, began: datetime) -> list[LogRecord]:
    """Return what the three printed since; the last lines may arrive just after the answer."""
    deadline = time.monotonic() + SETTLE_TIMEOUT_S
    while True:
        lines = [
            record
            for name in AGENTS
            for record in client.lines("GET", "logs", LogRecord, agent=name, last=LOG_LINES_MAX)
            if record.at >= began
        ]
        complete = {line.agent for line in lines} >= set(AGENTS)
        if complete or time.monotonic() > deadline:
            return lines
        time.sleep(POLL_S)


@contextmanager
def _deployed(options: Options, client: OperatorClient, folder: Path) -> Iterator[None]:
    """Deploy the three agents with what they ask for, and take them away again."""
    data = folder / "data"
    try:
        with moving(options, "starting three agents") as line:
            for name in AGENTS:
                mounts = [] if name == PLANNER else [f"{data}:/data:ro"]
                source = folder / name.removeprefix("demo-")
                order = DeployOrder(source=str(source), folder=str(folder), mounts=mounts)
                line.update(f"starting {name}")
                _deploy(client, order)
        yield
    finally:
        for name in AGENTS:
            with suppress(HiveError):
                client.delete(f"agents/{segment(name)}")


def _deploy(client: OperatorClient, order: DeployOrder) -> None:
    plan = client.post("plan", DeployPlan, order)
    agreed = DeployOrder(
        source=order.source, folder=order.folder, mounts=order.mounts, confirmed=plan.digest
    )
    for _ in client.lines("POST", "agents", DeployStep, body=agreed):
        pass


@contextmanager
def _key_file(state: Path) -> Iterator[Path]:
    """Give a key file that really is there: the operator's own, else one that stands in for it."""
    own = Path.home() / ".ssh" / "id_ed25519"
    if own.is_file():
        yield own
        return
    stand_in = state / "demo-home" / ".ssh" / "id_ed25519"
    stand_in.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    stand_in.write_text(_DECOY)
    try:
        yield stand_in
    finally:
        stand_in.unlink(missing_ok=True)


def _print(options: Options, story: Story, *, address: str) -> None:
    if options.json:
        show_json(story)
        return
    for line in story.lines:
        show(line.replace("✗", paint("✗", "red"), 1))
    show()
    more = f"   ·   {address}" if address else ""
    if story.held:
        show(f"  Everything above is on record:   hive trace demo   ·   hive audit verify{more}")
    else:
        show("  Not everything held or is on record:   hive trace demo   ·   hive doctor")
    show("Next:  hive run ./my_agent.py:agent      your own, any framework")
