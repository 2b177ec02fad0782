"""The tree of a task, drawn from the ledger and the spans beside it, on a real PostgreSQL."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from hive.core.call import TraceContext
from hive.core.errors import NotFoundError
from hive.core.ids import CallId
from hive.engines import Migration, load_migrations
from hive.engines.ports import Database
from hive.ledger.entry import EntryKind
from hive.observability import SpanFeed, Tracer, render, trace_json, trace_tree
from hive.observability.conventions import SPAN_SOURCE
from hive.observability.drivers.postgresql import PostgresqlSpans
from hive.testing.ledger import line, open_ledger

pytestmark = pytest.mark.anyio


@pytest.fixture
def migrations() -> Sequence[Migration]:
    return (*load_migrations("hive.ledger"), *load_migrations("hive.observability"))


async def _record(database: Database) -> tuple[TraceContext, PostgresqlSpans]:
    store = PostgresqlSpans(database)
    feed = SpanFeed(store)
    tracer = Tracer(feed)
    root = tracer.context()
    async with open_ledger(database) as writer:

        async def intent(call: str, trace: TraceContext, **body: str) -> None:
            draft = line(call, kind=EntryKind.INTENT, call=call, task="t-1", body=dict(body))
            await writer.append(replace(draft, trace=trace))

        async def result(call: str, outcome: str, duration_ms: float) -> None:
            body = {"outcome": outcome, "duration_ms": duration_ms}
            draft = line(kind=EntryKind.RESULT, call=call, task="t-1", body=body)
            await writer.append(replace(draft, trace=root))

        await intent("c-1", root, verb="send", target="planner", decision="admitted")
        own_word = {SPAN_SOURCE: "agent"}
        with (
            tracer.start("run_turn", parent=root) as turn,
            tracer.start("thought\x1b[31m of its own", attributes=own_word),
        ):
            pass
        child = tracer.context(root)
        await intent("c-2", child, verb="ask", target="gpt", parent="c-1", decision="admitted")
        await result("c-2", "ok", 12.5)
        await intent(
            "c-3",
            tracer.context(root),
            verb="reach",
            target="203.0.113.7",
            parent="c-1",
            decision="refused",
            reason="its grant names no host",
        )
        await result("c-1", "ok", 1500.0)
        assert turn.context.trace_id == root.trace_id
    await feed.flush()
    return root, store


async def test_a_task_is_drawn_with_calls_refusals_and_spans(database: Database) -> None:
    root, store = await _record(database)
    tree = await trace_tree(database, "t-1", spans=store)
    assert (tree.name, tree.state, tree.duration_ms) == ("invoke_agent planner", "ok", 1500.0)
    assert [(node.name, node.state) for node in tree.children] == [
        ("run_turn", "ok"),
        ("chat gpt", "ok"),
        ("reach 203.0.113.7", "refused"),
    ]
    assert tree.children[0].children[0].source == "agent"
    text = render(tree)
    assert "\x1b" not in text
    lines = text.splitlines()
    assert lines[0].endswith("1.50 s")
    assert "├ chat gpt" in text
    assert "12.5 ms" in text
    assert "└ ✗ reach 203.0.113.7" in text
    assert "refused · its grant names no host" in text
    assert "says the agent" in text
    by_trace = await trace_tree(database, root.trace_id, spans=store)
    assert trace_json(by_trace) == trace_json(tree)
    assert len(list(tree.walk())) == 5


async def test_a_persons_answer_stands_where_the_question_was_asked(database: Database) -> None:
    call: dict[str, str] = {"verb": "send", "target": "planner"}
    inner: dict[str, str] = {"verb": "invoke", "target": "bank.pay", "parent": "c-1"}
    asked: dict[str, str] = {"approval": "a-1", "call": "c-2"}
    said: dict[str, str] = {"approval": "a-1", "by": "operator"}
    async with open_ledger(database) as writer:
        for name, kind, of, body in (
            ("c-1", EntryKind.INTENT, "c-1", call),
            ("approval.asked", EntryKind.EVENT, None, asked),
            ("c-2", EntryKind.INTENT, "c-2", inner),
            ("approval.allowed", EntryKind.DECISION, None, said),
        ):
            await writer.append(line(name, kind=kind, call=of, task="t-1", body=dict(body)))
    tree = await trace_tree(database, "t-1")
    [tool] = [node for _, node in tree.walk() if node.call == "c-2"]
    assert [node.name for node in tool.children] == ["approval.asked", "approval.allowed"]


async def test_an_unknown_task_is_not_found(database: Database) -> None:
    with pytest.raises(NotFoundError):
        await trace_tree(database, "t-none", spans=PostgresqlSpans(database))


async def test_parents_that_name_each_other_do_not_loop(database: Database) -> None:
    async with open_ledger(database) as writer:
        for call, parent in (("c-1", "c-2"), ("c-2", "c-1"), ("c-3", "c-3")):
            body = {"verb": "ask", "target": call, "parent": parent}
            await writer.append(
                line(kind=EntryKind.INTENT, call=CallId(call), task="t-1", body=body)
            )
    tree = await trace_tree(database, "t-1")
    assert {node.call for _, node in tree.walk()} == {"", "c-1", "c-2", "c-3"}


async def test_spans_survive_the_store_as_they_were(database: Database) -> None:
    store = PostgresqlSpans(database)
    feed = SpanFeed(store)
    tracer = Tracer(feed)
    far = tracer.context()
    with tracer.start("step", attributes={"n": 1, "t": "ä\0"}) as span:
        span.link(far, "memory")
        span.fail("no\0 luck")
    await feed.flush()
    await store.write([span])
    (read,) = await store.of_trace(span.context.trace_id)
    assert replace(read, status_note=span.status_note) == span
    assert read.status_note == "no luck"
    assert await store.prune(datetime(2200, 1, 1, tzinfo=UTC)) == 1


async def test_a_call_stands_below_the_turn_that_made_it(database: Database) -> None:
    store = PostgresqlSpans(database)
    feed = SpanFeed(store)
    tracer = Tracer(feed)
    root = tracer.context()
    async with open_ledger(database) as writer:

        async def intent(call: str, **body: str) -> None:
            draft = line(call, kind=EntryKind.INTENT, call=call, task="t-1", body=dict(body))
            await writer.append(
                replace(draft, trace=tracer.context(root) if body.get("parent") else root)
            )

        await intent("c-1", verb="send", target="planner")
        for number in (2, 3):
            with tracer.start("hive.turn", parent=root):
                await intent(f"c-{number}", verb="ask", target=f"model-{number}", parent="c-1")
        await intent("c-4", verb="ask", target="late", parent="c-1")
    await feed.flush()
    tree = await trace_tree(database, "t-1", spans=store)
    below = [(turn.name, [call.name for call in turn.children]) for turn in tree.children]
    assert below == [
        ("hive.turn", ["chat model-2"]),
        ("hive.turn", ["chat model-3"]),
        ("chat late", []),
    ]
