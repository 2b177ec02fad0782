"""Conformance suites of `Bus`, `KeyValue` and `EventLog`: what every driver must do, on the real engine.

Each suite takes what the driver opened and has one asynchronous method for each promise; a method raises
`AssertionError` when the promise is broken. `promises(suite)` lists them, for any test runner.
"""

from typing import Final

import anyio
import anyio.lowlevel

from hive.core.errors import (
    ConflictError,
    EngineTimeoutError,
    InvalidIdError,
    NoResponderError,
    TooLargeError,
)
from hive.engines.ports import Bus, EventLog, KeyValue
from hive.testing.promises import must_raise

WAIT_S: Final = 10.0


class BusSuite:
    """What a bus promises; `other` is a second connection to the same server, if there is one."""

    def __init__(self, bus: Bus, *, other: Bus | None = None) -> None:
        self._bus = bus
        self._other = other or bus

    async def messages_arrive_whole_and_in_order(self) -> None:
        """Publish a few, with headers."""
        async with self._bus.subscribe("suite.order") as subscription:
            for number in range(50):
                await self._bus.publish(
                    "suite.order", bytes([number]), headers={"number": str(number)}
                )
            messages = aiter(subscription)
            with anyio.fail_after(WAIT_S):
                for number in range(50):
                    message = await anext(messages)
                    assert (message.subject, message.data) == ("suite.order", bytes([number]))
                    assert message.headers["number"] == str(number)

    async def wildcards_match_as_they_should(self) -> None:
        """Publish under and beside two patterns."""
        async with (
            self._bus.subscribe("suite.*.one") as star,
            self._bus.subscribe("suite.deep.>") as rest,
        ):
            for subject in (
                "suite.a.one",
                "suite.deep",
                "suite.deep.one",
                "suite.deep.a.b",
                "suite.one",
            ):
                await self._bus.publish(subject, b"")
            await self._bus.publish("suite.end.one", b"")
            await self._bus.publish("suite.deep.end", b"")
            assert await _until(star, "suite.end.one") == ["suite.a.one", "suite.deep.one"]
            assert await _until(rest, "suite.deep.end") == ["suite.deep.one", "suite.deep.a.b"]

    async def a_queue_group_shares_the_messages(self) -> None:
        """Let three members and one outsider listen."""
        async with (
            self._bus.subscribe("suite.work", queue="workers") as first,
            self._bus.subscribe("suite.work", queue="workers") as second,
            self._bus.subscribe("suite.work", queue="workers") as third,
            self._bus.subscribe("suite.work") as outsider,
        ):
            taken: list[list[bytes]] = [[], [], []]
            seen: list[bytes] = []
            done = anyio.Event()

            async def take(subscription: object, into: list[bytes]) -> None:
                async for message in subscription:  # type: ignore[attr-defined]
                    into.append(message.data)
                    if len(seen) == 300 and sum(map(len, taken)) == 300:
                        done.set()

            with anyio.fail_after(WAIT_S):
                async with anyio.create_task_group() as tasks:
                    for member, into in zip((first, second, third), taken, strict=True):
                        tasks.start_soon(take, member, into)
                    tasks.start_soon(take, outsider, seen)
                    for number in range(300):
                        await self._bus.publish("suite.work", str(number).encode())
                    await done.wait()
                    tasks.cancel_scope.cancel()
            assert sorted([data for into in taken for data in into]) == sorted(
                str(number).encode() for number in range(300)
            )
            assert all(len(into) > 30 for into in taken)

    async def a_request_is_answered(self) -> None:
        """Ask an echo."""
        async with (
            self._bus.subscribe("suite.echo") as subscription,
            anyio.create_task_group() as tasks,
        ):

            async def echo() -> None:
                async for message in subscription:
                    await self._bus.publish(message.reply, message.data[::-1])

            tasks.start_soon(echo)
            answer = await self._bus.request("suite.echo", b"abc", timeout_s=WAIT_S)
            assert answer.data == b"cba"
            tasks.cancel_scope.cancel()

    async def a_subscriber_is_known_before_anybody_can_ask(self) -> None:
        """Subscribe and ask at once, many times: the server must know the subscription for certain."""
        for number in range(150):
            subject = f"suite.known.{number}"
            async with (
                self._bus.subscribe(subject) as subscription,
                anyio.create_task_group() as tasks,
            ):

                async def answer_one() -> None:
                    message = await anext(aiter(subscription))
                    await self._bus.publish(message.reply, b"here")

                tasks.start_soon(answer_one)
                answer = await self._other.request(subject, b"?", timeout_s=WAIT_S)
                assert answer.data == b"here"

    async def nobody_there_is_told_at_once(self) -> None:
        """Ask where nobody listens."""
        with anyio.fail_after(WAIT_S / 2):
            await must_raise(
                NoResponderError, self._bus.request("suite.nobody", b"", timeout_s=WAIT_S)
            )

    async def a_silent_listener_is_a_timeout(self) -> None:
        """Ask somebody who never answers."""
        async with self._bus.subscribe("suite.silent"):
            await must_raise(
                EngineTimeoutError, self._bus.request("suite.silent", b"", timeout_s=0.05)
            )

    async def the_oldest_is_dropped_and_counted_when_nobody_reads(self) -> None:
        """Overfill a subscription."""
        async with (
            self._bus.subscribe("suite.full", pending_max=10) as subscription,
            self._bus.subscribe("suite.full") as witness,
        ):
            for number in range(25):
                await self._bus.publish("suite.full", str(number).encode())
            messages = aiter(witness)
            with anyio.fail_after(WAIT_S):
                for _ in range(25):
                    await anext(messages)
                while subscription.dropped < 15:
                    await anyio.lowlevel.checkpoint()
            assert (await anext(aiter(subscription))).data == b"15"

    async def a_closed_subscription_gets_nothing(self) -> None:
        """Leave the context; then nobody listens."""
        async with self._bus.subscribe("suite.closed"):
            pass
        await must_raise(NoResponderError, self._bus.request("suite.closed", b"", timeout_s=WAIT_S))

    async def a_message_over_the_limit_is_refused(self) -> None:
        """Publish and request too much."""
        await must_raise(TooLargeError, self._bus.publish("suite.large", bytes(9 << 20)))

    async def a_subject_with_a_wildcard_cannot_be_published_to(self) -> None:
        """Publish to patterns and broken subjects."""
        for subject in ("suite.*", "suite.>", "suite..x", "", "suite x", "suite.\r\nPUB", "."):
            await must_raise(InvalidIdError, self._bus.publish(subject, b""))

    async def it_reports_what_it_is(self) -> None:
        """Ask what it is."""
        report = await self._bus.report()
        assert report.engine
        assert report.version[0].isdigit()


async def _until(subscription: object, last: str) -> list[str]:
    subjects: list[str] = []
    with anyio.fail_after(WAIT_S):
        async for message in subscription:  # type: ignore[attr-defined]
            if message.subject == last:
                return subjects
            subjects.append(message.subject)
    raise AssertionError("the subscription ended")


class KeyValueSuite:
    """What a bucket promises; give it an empty one."""

    def __init__(self, bucket: KeyValue) -> None:
        self._bucket = bucket

    async def a_missing_key_is_none(self) -> None:
        """Get nothing, delete nothing."""
        assert await self._bucket.get("missing") is None
        await self._bucket.delete("missing")

    async def only_one_of_many_creates(self) -> None:
        """Let twenty create the same key at once."""
        won: list[int] = []
        lost: list[int] = []

        async def race(number: int) -> None:
            try:
                await self._bucket.create("race", str(number).encode())
                won.append(number)
            except ConflictError:
                lost.append(number)

        async with anyio.create_task_group() as tasks:
            for number in range(20):
                tasks.start_soon(race, number)
        assert (len(won), len(lost)) == (1, 19)
        entry = await self._bucket.get("race")
        assert entry is not None
        assert entry.value == str(won[0]).encode()

    async def an_update_names_the_revision_it_replaces(self) -> None:
        """Compare and set."""
        first = await self._bucket.create("cas", b"1")
        second = await self._bucket.update("cas", b"2", revision=first)
        assert second > first
        await must_raise(ConflictError, self._bucket.update("cas", b"3", revision=first))
        entry = await self._bucket.get("cas")
        assert entry is not None
        assert (entry.value, entry.revision) == (b"2", second)

    async def put_replaces_whatever_was_there(self) -> None:
        """Put twice."""
        await self._bucket.put("put", b"1")
        revision = await self._bucket.put("put", b"2")
        entry = await self._bucket.get("put")
        assert entry is not None
        assert (entry.value, entry.revision) == (b"2", revision)

    async def a_deleted_key_is_gone_and_can_be_created(self) -> None:
        """Delete, look, create."""
        await self._bucket.create("again", b"1")
        await self._bucket.delete("again")
        assert await self._bucket.get("again") is None
        assert "again" not in await self._bucket.keys()
        await self._bucket.create("again", b"2")
        entry = await self._bucket.get("again")
        assert entry is not None
        assert entry.value == b"2"

    async def an_expired_key_is_gone_and_can_be_created(self) -> None:
        """Let a lease run out: no trace of it may be in the way of the next one."""
        await self._bucket.create("lease", b"1", ttl_s=1)
        await must_raise(ConflictError, self._bucket.create("lease", b"2", ttl_s=1))
        with anyio.fail_after(WAIT_S):
            while await self._bucket.get("lease") is not None:  # noqa: ASYNC110
                await anyio.sleep(0.05)
        assert "lease" not in await self._bucket.keys()
        await self._bucket.create("lease", b"3", ttl_s=60)

    async def a_watch_sees_what_happens_from_now_on(self) -> None:
        """Watch puts and a deletion."""
        await self._bucket.put("old", b"before")
        async with self._bucket.watch() as entries:
            seen = aiter(entries)
            with anyio.fail_after(WAIT_S):
                await self._bucket.put("watched", b"1")
                first = await anext(seen)
                await self._bucket.delete("watched")
                second = await anext(seen)
            assert (first.key, first.value) == ("watched", b"1")
            assert (second.key, second.value) == ("watched", b"")
            assert second.revision > first.revision

    async def all_live_keys_are_listed(self) -> None:
        """List many."""
        expected = {f"list.{number}" for number in range(30)}
        for key in expected:
            await self._bucket.put(key, b"x")
        assert expected <= set(await self._bucket.keys())

    async def a_key_with_a_wildcard_is_refused(self) -> None:
        """Use patterns and broken names as keys."""
        for key in ("*", "a.>", "a b", "", "a..b", "ä", "x\r\n"):
            await must_raise(InvalidIdError, self._bucket.put(key, b""))


class EventLogSuite:
    """What an event log promises."""

    def __init__(self, events: EventLog) -> None:
        self._events = events

    async def an_unknown_stream_is_empty(self) -> None:
        """Read nothing."""
        assert await self._events.last("nothing") == 0
        assert list(await self._events.read("nothing")) == []

    async def records_come_back_in_order(self) -> None:
        """Append, then read in pieces."""
        for number in range(1, 31):
            assert await self._events.append("order", str(number).encode()) == number
        assert await self._events.last("order") == 30
        records = await self._events.read("order", after=10, limit=5)
        assert [record.sequence for record in records] == [11, 12, 13, 14, 15]
        assert [record.data for record in records] == [b"11", b"12", b"13", b"14", b"15"]
        assert [record.sequence for record in await self._events.read("order", after=28)] == [
            29,
            30,
        ]
        assert list(await self._events.read("order", after=30)) == []

    async def the_same_message_is_stored_once(self) -> None:
        """Append with one id twice."""
        first = await self._events.append("once", b"a", message_id="m1")
        again = await self._events.append("once", b"a", message_id="m1")
        other = await self._events.append("once", b"b", message_id="m2")
        assert (first, again, other) == (1, 1, 2)

    async def streams_do_not_mix(self) -> None:
        """Append to two."""
        await self._events.append("left", b"l")
        await self._events.append("right", b"r")
        assert [record.data for record in await self._events.read("left")] == [b"l"]

    async def a_strange_name_is_refused(self) -> None:
        """Use patterns and paths as names."""
        for name in ("*", "a.b", "a/b", "", "..", "x y"):
            await must_raise(InvalidIdError, self._events.append(name, b""))
