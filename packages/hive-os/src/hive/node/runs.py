"""What an operator asks about runs: the journal, a replay, a fork, a comparison."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path
from typing import Final, cast

import anyio
import msgspec

from hive.core.call import Outcome, Verb
from hive.core.errors import BadInputError, HiveError, NotFoundError, SpecError
from hive.core.ids import TaskId, plain_text
from hive.core.spec import AgentSpec, StartKind
from hive.execution.source import FoundSource, find_command, find_source
from hive.execution.source_copy import stage
from hive.kernel.host_parts import first_error
from hive.kernel.lines import line_body
from hive.kernel.masks import MASKS
from hive.kernel.playback import Divergence, Served
from hive.kernel.registry import Deployment
from hive.kernel.run_diff import answer_of, run_differences, tokens_of
from hive.kernel.run_record import RunRecord, RunStep
from hive.kernel.runs import Replayed
from hive.ledger.rows import COLUMNS, entry_of
from hive.node.build import Node
from hive.node.views import answer_text
from hive.protocols.models.cassette import recorded_exchange
from hive.security.roles import OPERATOR, acting_operator
from hive.web.runs import (
    CassetteLine,
    Forked,
    ForkOrder,
    JournalStep,
    ReplayLine,
    ReplayOrder,
    RunJournal,
    RunsCompared,
    RunSource,
    StepShown,
    WhereItDiffers,
)

LAST: Final = "last"
PREFIX_MIN_CHARS: Final = 4
LINES_AHEAD_MAX: Final = 10_000
KEEP: Final = "\n\t"


class NodeRuns(RunSource):
    """The runs of one node, as its operator sees them."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._runs = node.kernel.runs

    async def journal(self, run: str) -> RunJournal:
        """Return a run's effects. Raises NotFoundError."""
        record = await self._read(run)
        task = record.task
        return RunJournal(
            run=task.id,
            agent=task.agent,
            state=task.state.value,
            turns=len(record.turns),
            asked=plain_text(record.last.message.text, keep=KEEP),
            answer=plain_text(answer_text(task), keep=KEEP),
            steps=[_journal_step(step) for step in record.steps],
            forked_from=record.forked_from,
            forked_at=record.forked_at,
        )

    async def show(self, run: str, number: int) -> StepShown:
        """Return what one step asked and was answered. Raises NotFoundError."""
        record = await self._read(run)
        step = next((one for one in record.steps if one.number == number), None)
        if step is None:
            raise NotFoundError(
                f"The run has no step {number}.", why=f"It has {len(record.steps)}."
            )
        frames = answer_of(step)
        asked = step.step.asked
        return StepShown(
            step=_journal_step(step),
            asked=None if asked is None else _readable(asked.arguments),
            answer=_readable(b"\n".join((frames[0], b"".join(frames[1:])))) if frames else None,
        )

    async def replay(self, run: str, order: ReplayOrder) -> AsyncIterator[ReplayLine]:
        """Run it again from its record, line by line. Raises NotFoundError, StateError."""
        record = await self._read(run)
        deployment = await self._deployment(record)
        spec, notes = await self._spec(record, deployment, order)
        for note in (*notes, *_notes(record)):
            yield ReplayLine(kind="note", text=note)
        lines = self._lines(record, spec, deployment)
        async with aclosing(cast("AsyncGenerator[ReplayLine]", lines)) as told:
            async for line in told:
                yield line

    async def cassette(self, run: str) -> AsyncIterator[CassetteLine]:
        """Tell a run's model calls with their answers. Raises NotFoundError."""
        for step in (await self._read(run)).steps:
            if step.intent.verb == Verb.ASK:
                yield _cassette_line(step)

    async def fork(self, run: str, order: ForkOrder) -> Forked:
        """Open a task that goes live from a step of a run. Raises NotFoundError, BadInputError."""
        found = await self._find(run)
        task = await self._runs.fork(acting_operator(), found, at=order.at, text=order.message)
        return Forked(run=task.id, agent=task.agent, forked_from=found, at=order.at)

    async def diff(self, one: str, other: str) -> RunsCompared:
        """Compare two runs. Raises NotFoundError."""
        left, right = await self._read(one), await self._read(other)
        found = run_differences(left, right)
        longest = max(len(left.steps), len(right.steps))
        return RunsCompared(
            one=left.task.id,
            other=right.task.id,
            equal=not found,
            differences=[
                WhereItDiffers(
                    step=each.number,
                    what=each.what,
                    path=each.difference.path,
                    expected=each.difference.expected,
                    actual=each.difference.actual,
                )
                for each in found
            ],
            durations_ms=[
                (_duration_at(left, place), _duration_at(right, place)) for place in range(longest)
            ],
        )

    async def _lines(
        self, record: RunRecord, spec: AgentSpec, deployment: Deployment
    ) -> AsyncIterator[ReplayLine]:
        send, receive = anyio.create_memory_object_stream[ReplayLine](LINES_AHEAD_MAX)
        total = len(record.last.steps)

        def on_served(served: Served) -> None:
            try:
                send.send_nowait(_served_line(served, total))
            except (anyio.WouldBlock, anyio.BrokenResourceError):
                return

        async def work() -> None:
            with send:
                replayed = await self._runs.replay(
                    OPERATOR,
                    record.task.id,
                    spec=spec,
                    grant=deployment.grant,
                    on_served=on_served,
                )
                await send.send(_end_line(replayed, total))

        try:
            async with receive, anyio.create_task_group() as tasks:
                tasks.start_soon(work)
                async for line in receive:
                    yield line
        except ExceptionGroup as group:
            raise first_error(group) from group

    async def _deployment(self, record: RunRecord) -> Deployment:
        for deployment in await self._node.kernel.registry.all():
            if deployment.spec.name == record.task.agent:
                return deployment
        raise NotFoundError(
            f"The agent {record.task.agent} of this run is not deployed.",
            fix="Run it again: hive run SOURCE",
        )

    async def _spec(
        self, record: RunRecord, deployment: Deployment, order: ReplayOrder
    ) -> tuple[AgentSpec, list[str]]:
        """Return what to run: the source as it is now, or as it was staged for the run."""
        recorded = await self._digest_then(record)
        if order.recorded_source:
            spec = replace(deployment.spec, digest=recorded or deployment.spec.digest)
            return spec, ["it runs the copy of the source that the run was made with"]
        spec, problem = await anyio.to_thread.run_sync(self._source_now, deployment.spec)
        notes = (
            [f"its folder cannot be read, so the deployed copy runs: {problem}"] if problem else []
        )
        if recorded and spec.digest != recorded:
            notes.append(
                f"the source has changed since the run ({recorded[:12]} -> {spec.digest[:12]}); "
                "the changed code runs"
            )
        return spec, notes

    def _source_now(self, spec: AgentSpec) -> tuple[AgentSpec, str]:
        """Read the agent's folder as it is now; the copy that was deployed stands in for a lost one."""
        entry = spec.entry
        if entry.kind is StartKind.REMOTE or not entry.source:
            return spec, ""
        try:
            found = _found_again(spec)
        except HiveError as error:
            return spec, plain_text(error.what)
        if found is None or found.visible is None:
            return spec, "it does not lead to the same agent any more"
        stage(found.visible, self._node.settings.state)
        return replace(found.spec, needs=spec.needs, allow_build=False), ""

    async def _digest_then(self, record: RunRecord) -> str:
        rows = await self._node.engines.database.fetch(
            f"SELECT {COLUMNS} FROM entry WHERE kind = 'event' AND name = 'agent.deployed' "  # noqa: S608
            "AND agent = $1 AND at <= $2 ORDER BY at DESC LIMIT 1",
            record.task.agent,
            record.last.call.at,
        )
        return line_body(entry_of(rows[0])).source if rows else ""

    async def _read(self, run: str) -> RunRecord:
        return await self._runs.read(OPERATOR, await self._find(run))

    async def _find(self, run: str) -> TaskId:
        if run == LAST:
            newest = (await self._node.kernel.store.page(limit=1)).tasks
            if not newest:
                raise NotFoundError("No task was ever made.", fix="hive call AGENT TEXT")
            return newest[0].id
        if len(run) < PREFIX_MIN_CHARS or "\0" in run:
            raise BadInputError(
                f"{run!r} names no run.", fix="Write its id, the beginning of it, or `last`."
            )
        rows = await self._node.engines.database.fetch(
            "SELECT id FROM task WHERE starts_with(id, $1) ORDER BY id LIMIT 2", run
        )
        if not rows:
            raise NotFoundError(f"There is no run {run!r}.", fix="See `hive trace`.")
        if len(rows) > 1 and rows[0]["id"] != run:
            raise BadInputError(
                f"{run!r} is the beginning of several runs.", fix="Write more of it."
            )
        return TaskId(str(rows[0]["id"]))


def _found_again(spec: AgentSpec) -> FoundSource | None:
    """Read a source from the folder that it was deployed from; None where it is another one now."""
    entry, folder, home = spec.entry, Path(spec.entry.source), Path.home()
    if entry.argv:
        serves = entry.kind is StartKind.A2A_COMMAND
        return find_command(entry.argv, cwd=folder, home=home, name=spec.name, serves_a2a=serves)
    attribute = f":{entry.attribute}" if entry.attribute else ""
    problem: SpecError | None = None
    for text in (f"./{entry.path}{attribute}", "."):
        try:
            found = find_source(text, cwd=folder, home=home, name=spec.name)
        except SpecError as error:
            problem = problem or error
            continue
        if found.spec.entry == entry:
            return found
    if problem is not None:
        raise problem
    return None


def _journal_step(step: RunStep) -> JournalStep:
    asked, result = step.step.asked, step.result
    return JournalStep(
        number=step.number,
        verb=step.intent.verb,
        target=plain_text(step.intent.target),
        effect=step.intent.effect,
        outcome=step.outcome,
        at=step.step.intent.at,
        duration_ms=None if result is None else result.duration_ms,
        tokens=tokens_of(step),
        origin=step.origin,
        note=plain_text(step.intent.reason if result is None else result.note),
        asked_kept=asked is not None,
        redacted=asked is not None and asked.redacted,
    )


def _cassette_line(step: RunStep) -> CassetteLine:
    asked, frames = step.step.asked, answer_of(step)
    if asked is None or asked.redacted:
        kept = "redacted" if asked is not None else "not kept"
        return CassetteLine(step=step.number, skipped=f"what it asked is {kept}")
    if step.outcome not in (Outcome.OK, Outcome.FAILED) or not frames:
        return CassetteLine(step=step.number, skipped="it has no whole answer")
    try:
        made = recorded_exchange(step.intent.target, asked.arguments, frames)
    except BadInputError as error:
        return CassetteLine(step=step.number, skipped=plain_text(error.what))
    if step.outcome == Outcome.FAILED and made.status < HTTPStatus.BAD_REQUEST:
        return CassetteLine(step=step.number, skipped="its answer broke off")
    return CassetteLine(step=step.number, exchange=msgspec.Raw(msgspec.json.encode(made)))


def _notes(record: RunRecord) -> list[str]:
    notes = []
    if len(record.turns) > 1:
        notes.append(f"the run has {len(record.turns)} turns; the last one is replayed")
    if record.redacted:
        notes.append("what was asked is kept redacted; it is compared under the same redactions")
    return notes


def _served_line(served: Served, total: int) -> ReplayLine:
    step = served.step
    return ReplayLine(
        kind="step",
        step=step.number,
        steps=total,
        text=plain_text(f"{step.verb} {step.target}"),
        how=served.how,
        masks={name: served.masks.count(name) for name in sorted(set(served.masks))},
    )


def _end_line(replayed: Replayed, total: int) -> ReplayLine:
    masks = replayed.playback.masks_used
    return ReplayLine(
        kind="end",
        identical=replayed.divergence is None,
        state=replayed.state.value,
        step=len(replayed.playback.served),
        steps=total,
        masks=dict(sorted(masks.items())),
        text="; ".join(f"{name}: {MASKS[name]}" for name in sorted(masks)),
        divergence=None if replayed.divergence is None else _where(replayed.divergence),
    )


def _where(divergence: Divergence) -> WhereItDiffers:
    found = divergence.difference
    return WhereItDiffers(
        step=divergence.step,
        what=plain_text(divergence.reason),
        path="" if found is None else found.path,
        expected=plain_text(divergence.expected if found is None else found.expected),
        actual=plain_text(divergence.actual if found is None else found.actual),
    )


def _duration_at(record: RunRecord, place: int) -> float | None:
    steps = record.steps
    result = steps[place].result if place < len(steps) else None
    return None if result is None else result.duration_ms


def _readable(content: bytes) -> str:
    return plain_text(content.decode("utf-8", "replace"), keep=KEEP)
