"""Guards: their verdicts, what they leave, and what becomes of a guard that breaks."""

import anyio
import pytest
from a2a.types import ListTasksResponse, SendMessageResponse, StreamResponse, TaskStatusUpdateEvent

from hive_a2a.faults import WireFault
from hive_a2a.stages.guard import (
    ALLOW,
    GuardStage,
    Hold,
    Redact,
    Refuse,
    parts_lists,
    redacted,
)
from tests.stages_rig import a_call, a_task, an_answer, an_event

pytestmark = pytest.mark.anyio


class ScriptedGuard:
    """Answers with what it was given, and remembers what it was shown."""

    def __init__(self, *, before=ALLOW, after=ALLOW, event=ALLOW) -> None:
        self._says = {"before": before, "after": after, "event": event}
        self.shown = []

    async def before(self, call):
        return self._answer("before", call.params)

    async def after(self, call, answer):
        return self._answer("after", answer)

    async def event(self, call, event):
        return self._answer("event", event)

    def _answer(self, when, shown):
        self.shown.append(shown)
        says = self._says[when]
        return says(shown) if callable(says) else says


def hide(shown):
    def judge(part):
        if part.text == "drop":
            return None
        part.text = part.text.replace("secret", "***")
        return part

    return Redact(redacted(shown, judge))


async def fault(deed) -> WireFault:
    with pytest.raises(WireFault) as refused:
        await deed
    assert refused.value.metadata["check"] == "guard"
    return refused.value


async def test_allowed_is_passed_on_as_it_is():
    stage = GuardStage([ScriptedGuard()])
    call, answer, event = a_call(), an_answer(), an_event("x")
    params = call.params
    await stage.before(call)
    assert call.params is params
    assert await stage.after(call, answer) is answer
    assert await stage.event(call, event) is event
    assert GuardStage([]).idle
    assert not stage.idle


async def test_redacted_are_copies_and_the_next_guard_sees_what_is_left():
    second = ScriptedGuard()
    stage = GuardStage([ScriptedGuard(before=hide, after=hide, event=hide), second])
    call = a_call("a secret", "drop")
    held_elsewhere = call.params
    await stage.before(call)
    assert [part.text for part in held_elsewhere.message.parts] == ["a ***"]
    answer = a_task("secret", history=(an_answer("secret"),))
    left = await stage.after(call, answer)
    assert left.artifacts[0].parts[0].text == "***"
    assert left.history[0].parts[0].text == "***"
    assert answer.artifacts[0].parts[0].text == "secret", "the store's own is untouched"
    assert second.shown[-1] is left
    event = an_event("secret")
    assert (await stage.event(call, event)).artifact_update.artifact.parts[0].text == "***"
    assert event.artifact_update.artifact.parts[0].text == "secret"


async def test_refused_and_held_are_said_in_the_standards_words():
    refused = await fault(GuardStage([ScriptedGuard(before=Refuse("not here"))]).before(a_call()))
    assert (refused.status, refused.message) == (403, "not here")
    stage = GuardStage([ScriptedGuard(after=Hold("ap-1", "somebody must look"))])
    held = await fault(stage.after(a_call(), an_answer()))
    assert (held.status, held.retry_after_s) == (429, 30.0)
    assert held.metadata["approval"] == "ap-1"


@pytest.mark.parametrize("says", [None, "allow", True, Redact("text"), lambda shown: 1 // 0])
async def test_what_is_no_verdict_is_a_refusal(says):
    stage = GuardStage([ScriptedGuard(event=says)])
    assert (await fault(stage.event(a_call(), an_event("x")))).status == 403


async def test_a_guard_that_takes_too_long_refuses():
    class SlowGuard(ScriptedGuard):
        async def before(self, call):
            await anyio.sleep_forever()

    with anyio.fail_after(5):
        said = await fault(GuardStage([SlowGuard()], timeout_s=0.01).before(a_call()))
    assert said.detail == "TimeoutError"


async def test_a_guard_does_not_eat_a_cancellation():
    class SlowGuard(ScriptedGuard):
        async def before(self, call):
            await anyio.sleep_forever()

    with anyio.move_on_after(0.01) as patience:
        await GuardStage([SlowGuard()]).before(a_call())
    assert patience.cancelled_caught


def test_every_list_of_parts_is_found():
    status = TaskStatusUpdateEvent(task_id="t")
    status.status.message.CopyFrom(an_answer("x"))
    for value, count in (
        (an_answer("x"), 1),
        (SendMessageResponse(message=an_answer("x")), 1),
        (SendMessageResponse(task=a_task("x", history=(an_answer(), an_answer()))), 3),
        (StreamResponse(status_update=status), 1),
        (ListTasksResponse(tasks=[a_task("x"), a_task("y")]), 2),
    ):
        assert len(list(parts_lists(value))) == count
