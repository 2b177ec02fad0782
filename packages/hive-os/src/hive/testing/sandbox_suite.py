"""What every tier must do, as checks that run against the real thing; and a way to run code inside one.

Nothing here imports pytest, so any test runner can use it: `SANDBOX_CHECKS` maps a sentence to a check that
takes a driver and an empty folder.
"""

import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias

import anyio

import hive_guest
from hive.core.errors import SandboxError
from hive.core.grant import Access, Grant, Limits, PathRule
from hive.core.ids import AgentId, ContextId, MessageId, SandboxId, TaskId, TurnId
from hive.core.spec import AgentSpec, EntryPoint, StartKind
from hive.core.task import Message, Part, Role
from hive.execution.ports import (
    GuestEvent,
    Opening,
    Prepared,
    SandboxDriver,
    TextChunk,
    Turn,
    TurnDone,
)

WAIT_S: Final = 20.0
SMALL: Final = Limits(memory_bytes=256 << 20, processes_max=64, disk_bytes=16 << 20, cpu_s=60)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptRun:
    """How a script inside a sandbox ended."""

    status: int
    lines: tuple[str, ...] = field(default=())

    @property
    def text(self) -> str:
        """Return what it printed."""
        return "\n".join(self.lines)


def make_opening(
    folder: Path,
    *,
    sandbox_id: str = "suite",
    environment: Mapping[str, str] | None = None,
) -> Opening:
    """Make the folders that a node hands to a sandbox."""
    gate, outbox = folder / f"{sandbox_id}-gate", folder / f"{sandbox_id}-outbox"
    for place in (gate, outbox):
        place.mkdir(parents=True, exist_ok=True)
    return Opening(
        sandbox_id=SandboxId(sandbox_id),
        gate_directory=str(gate),
        environment=environment or {},
        outbox_directory=str(outbox),
    )


async def run_script(
    driver: SandboxDriver,
    script: str,
    folder: Path,
    *,
    arguments: Sequence[str] = (),
    mounts: Sequence[PathRule] = (),
    limits: Limits = SMALL,
    timeout_s: float = WAIT_S,
    python: str = sys.executable,
) -> ScriptRun:
    """Run a Python script behind a tier's walls."""
    lines: list[str] = []
    status = await driver.run(
        (python, "-I", "-S", "-c", script, *arguments),
        mounts=mounts,
        opening=make_opening(folder),
        limits=limits,
        timeout_s=timeout_s,
        on_line=lines.append,
    )
    return ScriptRun(status=status, lines=tuple(lines))


def prepare_agent(folder: Path, source: str, *, attribute: str = "answer") -> Prepared:
    """Write a Python agent and return it as an artifact that can be spawned."""
    place = folder / "agent"
    place.mkdir(parents=True, exist_ok=True)
    (place / "agent.py").write_text(source)
    guest = Path(next(iter(hive_guest.__path__)))
    return Prepared(
        spec=AgentSpec(
            name=AgentId("suite"),
            entry=EntryPoint(
                kind=StartKind.PYTHON, source=str(place), path="agent.py", attribute=attribute
            ),
        ),
        argv=(
            sys.executable,
            "-I",
            str(guest / "__main__.py"),
            "--source",
            str(place),
            "--path",
            "agent.py",
            "--attribute",
            attribute,
        ),
        reads=(str(place), str(guest)),
    )


def make_turn(text: str, *, turn_id: str = "turn-1", timeout_s: float = WAIT_S) -> Turn:
    """Return a turn with one text."""
    message = Message(id=MessageId("message-1"), role=Role.USER, parts=(Part(text=text),))
    return Turn(
        id=TurnId(turn_id),
        task_id=TaskId("task-1"),
        context_id=ContextId("context-1"),
        message=message,
        timeout_s=timeout_s,
    )


def answer_of(events: Sequence[GuestEvent]) -> str:
    """Return the text with which a turn ended: its answer, or what it streamed."""
    last = events[-1]
    if not isinstance(last, TurnDone):
        raise AssertionError(last)  # noqa: TRY004 - a failed check
    if last.message is not None and last.message.text:
        return last.message.text
    return "".join(event.text for event in events if isinstance(event, TextChunk))


def expect(truth: object, said: object = "") -> None:
    """Fail the check unless `truth` holds.

    Raises:
        AssertionError: it does not.

    """
    if not truth:
        raise AssertionError(said)


async def _probe_runs_something(driver: SandboxDriver, _folder: Path) -> None:
    probe = await driver.probe()
    expect(probe.tier is driver.tier)
    expect(probe.available, probe.reason)
    expect(probe.walls)
    expect(probe.start_ms)


async def _status_and_lines(driver: SandboxDriver, folder: Path) -> None:
    script = "import sys; print('one'); print('\\x1b[31mtwo', file=sys.stderr); sys.exit(7)"
    run = await run_script(driver, script, folder)
    expect(run.status == 7)
    expect(sorted(run.lines) == ["one", "two"])


async def _too_long(driver: SandboxDriver, folder: Path) -> None:
    try:
        await run_script(driver, "import time; time.sleep(60)", folder, timeout_s=0.5)
    except SandboxError as error:
        expect("0.5" in error.why)
    else:
        raise AssertionError("a command that runs past its time was not ended")


async def _streams(driver: SandboxDriver, folder: Path) -> None:
    script = (
        "import os, sys; line = sys.stdin.readline(); print('log', file=sys.stderr);"
        "print(len(line), 'HIVE_TURN_FD' in os.environ, flush=True); sys.stdin.read(); sys.exit(3)"
    )
    lines: list[str] = []
    with anyio.fail_after(WAIT_S):
        async with driver.open(
            (sys.executable, "-I", "-c", script),
            mounts=(),
            opening=make_opening(folder),
            limits=SMALL,
            on_line=lines.append,
        ) as streams:
            await streams.send(b"x" * 3_000_000 + b"\n")
            told = b""
            while not told.endswith(b"\n"):
                told += await streams.receive()
            expect(told == b"3000001 False\n", told)
            expect((await streams.stats()).processes >= 1)
            await streams.send_eof()
            expect("status 3" in await streams.wait_dead(), await streams.wait_dead())
            try:
                await streams.receive()
            except anyio.EndOfStream:
                pass
            else:
                raise AssertionError("a dead command's output did not end")
    expect(lines == ["log"], lines)


async def _missing_program(driver: SandboxDriver, folder: Path) -> None:
    try:
        await run_script(driver, "", folder, python="/usr/bin/there-is-no-such-program")
    except SandboxError:
        return
    raise AssertionError("a program that does not exist seemed to run")


async def _mounts(driver: SandboxDriver, folder: Path) -> None:
    read, write = folder / "read", folder / "write"
    read.mkdir()
    write.mkdir()
    (read / "text").write_text("hello")
    script = (
        "print(open('/data/read/text').read())\n"
        "open('/data/write/made', 'w').write('x')\n"
        "try:\n    open('/data/read/made', 'w')\nexcept OSError:\n    print('refused')\n"
    )
    rules = (
        PathRule(host=str(read), inside="/data/read"),
        PathRule(host=str(write), inside="/data/write", access=Access.WRITE),
    )
    run = await run_script(driver, script, folder, mounts=rules)
    expect(run.lines == ("hello", "refused"))
    expect((write / "made").read_text() == "x")
    expect((write / "made").stat().st_uid == write.stat().st_uid)


async def _turns(driver: SandboxDriver, folder: Path) -> None:
    prepared = prepare_agent(folder, "def answer(text):\n    return text.upper()\n")
    async with driver.spawn(prepared, Grant(limits=SMALL), make_opening(folder)) as sandbox:
        await sandbox.ready(WAIT_S)
        expect(sandbox.tier is driver.tier)
        expect(sandbox.walls)
        for number, text in enumerate(("one", "two")):
            turn = make_turn(text, turn_id=f"turn-{number}")
            events = [event async for event in sandbox.run_turn(turn)]
            expect(answer_of(events) == text.upper())
        stats = await sandbox.stats()
        expect(stats.memory_bytes > 0)
        expect(stats.processes > 0)


async def _kill(driver: SandboxDriver, folder: Path) -> None:
    prepared = prepare_agent(folder, "def answer(text):\n    return text\n")
    async with driver.spawn(prepared, Grant(limits=SMALL), make_opening(folder)) as sandbox:
        await sandbox.ready(WAIT_S)
        await anyio.to_thread.run_sync(sandbox.kill, "an operator stopped it")
        sandbox.kill("a second reason that comes too late")
        with anyio.fail_after(WAIT_S):
            expect(await sandbox.wait_dead() == "an operator stopped it")


async def _death_is_told(driver: SandboxDriver, folder: Path) -> None:
    source = "import os\ndef answer(text):\n    print('last words', flush=True)\n    os._exit(3)\n"
    async with driver.spawn(
        prepare_agent(folder, source), Grant(limits=SMALL), make_opening(folder)
    ) as sandbox:
        await sandbox.ready(WAIT_S)
        try:
            async for _ in sandbox.run_turn(make_turn("die")):
                pass
        except SandboxError as error:
            expect("status 3" in error.why)
            expect("last words" in error.why)
        else:
            raise AssertionError("the death of the agent was not told")


SandboxCheck: TypeAlias = Callable[[SandboxDriver, Path], Awaitable[None]]
SANDBOX_CHECKS: Final[dict[str, SandboxCheck]] = {
    "the probe runs something": _probe_runs_something,
    "a command's status and lines come back, stripped": _status_and_lines,
    "a command that takes too long is ended": _too_long,
    "a command with streams reads and writes them": _streams,
    "a program that is not there is an error": _missing_program,
    "mounts are as wide as granted": _mounts,
    "an agent serves one turn after the other": _turns,
    "an agent can be killed from any thread, with a reason": _kill,
    "the death of an agent is told with its last lines": _death_is_told,
}
