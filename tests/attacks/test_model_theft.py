"""Ways to ask a model as somebody else, or to ask another model than the one that was admitted."""

import json

import pytest
from anyio import fail_after

from hive.core.call import Refused
from hive.core.clock import SystemClock
from hive.core.settings import Settings
from hive.protocols.models import ModelsDoor, open_upstream
from hive.testing.rehearsal_gate import HANDLE, SANDBOX, RehearsalGate

pytestmark = pytest.mark.anyio


def only_cheap(attempt):
    if attempt.target == "cheap":
        return None
    return Refused(check="grant", reason="only the cheap model is in the grant")


async def ask(gate, body, *, sandbox=SANDBOX, headers=None):
    sent = []
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive():
        return waiting.pop() if waiting else {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    given = {"authorization": f"Bearer {HANDLE}"} if headers is None else headers
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/chat/completions",
        "headers": [(key.encode(), value.encode()) for key, value in given.items()],
        "hive.sandbox": sandbox,
    }
    clock, settings = SystemClock(), Settings()
    with fail_after(30):
        async with open_upstream(settings, clock) as upstream:
            await ModelsDoor(gate=gate, upstream=upstream, settings=settings, clock=clock)(
                scope, receive, send
            )
    return sent[0]["status"]


def first_wins(pairs):
    return dict(reversed(pairs))


async def test_two_model_names_cannot_show_one_to_the_gate_and_one_to_the_provider():
    body = b'{"model":"dear","messages":[],"model":"cheap"}'
    # Two honest parsers disagree on it, which is the whole attack.
    assert json.loads(body)["model"] == "cheap"
    assert json.loads(body, object_pairs_hook=first_wins)["model"] == "dear"
    gate = RehearsalGate(judge=only_cheap)
    assert await ask(gate, body) == 400
    assert gate.calls == []


async def test_a_model_outside_the_grant_is_never_asked():
    gate = RehearsalGate(judge=only_cheap)
    assert await ask(gate, b'{"model":"dear","messages":[]}') == 403
    assert gate.calls[0].frames == []


async def test_a_stolen_handle_is_worth_nothing_on_another_socket():
    gate = RehearsalGate()
    body = b'{"model":"cheap","messages":[]}'
    assert await ask(gate, body, sandbox="box-of-the-thief") == 401
    assert gate.calls == []


async def test_two_handles_in_one_request_are_nobodys():
    gate = RehearsalGate()
    both = {"authorization": f"Bearer {HANDLE}", "x-api-key": "another"}
    assert await ask(gate, b'{"model":"cheap","messages":[]}', headers=both) == 401
    assert gate.calls == []
