"""Every method on every way into a server passes the chain, and is recorded as an attempt with its outcome."""

import pytest

from hive_a2a.call import METHODS_OF_A2A
from tests.server_rig import NEW, OLD, OLD_NAMES, params_of, secure, sending

pytestmark = pytest.mark.anyio
VERSIONS = {True: "0.3", False: "1.0"}


def methods_of(binding: str) -> list[str]:
    if binding == "HTTP+JSON-0.3":  # the official adapter has no DELETE there
        return [one for one in OLD_NAMES if not one.startswith("Delete")]
    return list(OLD_NAMES) if binding in OLD else list(METHODS_OF_A2A)


async def ask_all(place, binding: str) -> dict[str, list]:
    """Call every method once with what makes it succeed; return the records of each."""
    found = {}
    for method in methods_of(binding):
        task = (await place.ask("JSONRPC", "SendMessage", sending("wait"), name="ann")).task
        if method in ("GetTaskPushNotificationConfig", "DeleteTaskPushNotificationConfig"):
            made = params_of("CreateTaskPushNotificationConfig", task)
            assert (
                await place.ask("JSONRPC", "CreateTaskPushNotificationConfig", made, name="ann")
            ).ok
        place.audit.records.clear()
        if method == "SubscribeToTask":
            await subscribe(place, binding, task)
        else:
            answer = await place.ask(binding, method, params_of(method, task), name="ann")
            assert answer.ok, (binding, method, answer)
        found[method] = place.records()
    return found


async def subscribe(place, binding, task) -> None:
    import anyio

    async def cancel() -> None:
        with anyio.fail_after(5):
            while not place.records("attempt"):
                await anyio.lowlevel.checkpoint()
        assert (await place.ask("JSONRPC", "CancelTask", {"id": task}, name="ann")).ok

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(cancel)
        answer = await place.ask(binding, "SubscribeToTask", {"id": task}, name="ann")
    assert answer.ok, answer
    assert answer.events


@pytest.mark.parametrize("binding", [*NEW, *OLD])
async def test_every_method_is_recorded_with_attempt_and_outcome(tmp_path, binding):
    async with secure(tmp_path) as place:
        for method, records in (await ask_all(place, binding)).items():
            mine = [one for one in records if one.kind == "attempt" and one.method == method]
            assert len(mine) == 1, (method, records)
            [attempt] = mine
            assert (attempt.binding, attempt.version) == (
                binding.removesuffix("-0.3"),
                VERSIONS[binding in OLD],
            )
            assert attempt.caller == "word:ann"
            [outcome] = [
                one for one in records if one.kind == "outcome" and one.call == attempt.call
            ]
            assert outcome.ending == "completed"
