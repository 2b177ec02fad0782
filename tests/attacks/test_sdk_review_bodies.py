"""Bodies that cost more than they weigh, and paths that two readers read differently."""

import json
import time

import pytest
from a2a.types import a2a_pb2 as pb

from hive_a2a.call import Binding, RequestHead
from hive_a2a.cards.errors import CardError
from hive_a2a.cards.jcs import canonical_card, card_hash, empty_required, exact_card
from hive_a2a.cards.noise_params import NOISE_URI, noise_of
from hive_a2a.cards.policies import Unsigned
from hive_a2a.cards.reading import CardLimits, read_object
from hive_a2a.cards.resolve import read_card
from hive_a2a.cards.verify import verify_card
from hive_a2a.crypto import new_exchange_pair
from hive_a2a.errors import A2AError
from hive_a2a.faults import WireFault
from hive_a2a.sealed.binding import InnerRequest
from hive_a2a.sealed.pins import PinnedPeers
from hive_a2a.wire.limits import depth_exceeds
from hive_a2a.wire.proto_in import to_proto
from hive_a2a.wire.rest import resource_of
from tests.wire_rig import call, client_of, endpoint

pytestmark = pytest.mark.anyio
NESTED = b"[" * 65 + b"]" * 65
ENDLESS = b'"' + b'\\"' * 500_000
"""A string that never ends: an eager matcher begins anew at each of its quotes."""


def seconds(run) -> float:
    began = time.process_time()
    run()
    return time.process_time() - began


def test_a_string_without_an_end_holds_the_server_up():
    assert seconds(lambda: depth_exceeds(NESTED[:-2] + ENDLESS, 65)) < 1.0
    assert depth_exceeds(NESTED + ENDLESS, 64)


def test_a_card_with_a_string_without_an_end_holds_the_client_up():
    def read() -> None:
        with pytest.raises(CardError):
            read_object(NESTED + ENDLESS[: 1 << 19], CardLimits(depth=128), "A card")

    assert seconds(read) < 1.0


def test_brackets_in_strings_are_still_no_depth_and_others_are():
    assert not depth_exceeds(b'["' + b"[" * 100 + b'\\"[[[[\\\\"]', 2)
    assert depth_exceeds(b'["\\\\", ' + b"[" * 10, 10)
    assert not depth_exceeds(b'[["\\', 2)


def test_a_path_with_an_empty_name_is_another_way_to_the_same_tasks():
    assert resource_of("GET", "/tasks").method == "ListTasks"
    assert resource_of("GET", "/blue/tasks").tenant == "blue"
    for path in ("//tasks", "/./tasks", "/../tasks", "//message:send", "//v1/tasks"):
        with pytest.raises(WireFault) as refused:
            resource_of("POST" if "send" in path else "GET", path)
        assert refused.value.status == 404, path


@pytest.mark.parametrize("path", ["/blue%2Ftasks", "/tasks%2fabc", "/blue%2F..%2Ftasks"])
async def test_a_slash_in_percent_signs_is_a_step_here_and_a_name_to_a_gate_in_front(path):
    async with client_of(endpoint(), "ann") as client:
        assert (await client.get(path)).status_code == 404
        assert (await client.get("/blue/tasks")).status_code == 200


CARD = {
    "name": "a",
    "capabilities": {"extensions": [{"uri": "urn:x", "params": {"n": 1}}]},
    "supportedInterfaces": [
        {"url": "http://127.0.0.1/", "protocolBinding": "JSONRPC", "protocolVersion": "1.0"}
    ],
}


async def test_a_card_with_a_number_without_an_end_breaks_its_reader():
    card = read_card(json.dumps(CARD).replace('"n": 1', '"n": 1e999').encode())
    for run in (card_hash, exact_card, canonical_card, empty_required):
        with pytest.raises(CardError):
            run(card)
    with pytest.raises(A2AError):
        await PinnedPeers(static=new_exchange_pair()).pin(card)
    with pytest.raises(CardError):
        await verify_card(card, Unsigned())


@pytest.mark.parametrize("kind", [pb.SendMessageRequest])
@pytest.mark.parametrize("word", ["\ud800", "a\udfff"])
def test_half_a_surrogate_in_a_key_breaks_the_server(kind, word):
    for value in (
        {"metadata": {word: 1}},
        {"metadata": {"a": {word: 1}}},
        {"message": {"parts": [{"data": {word: None}}]}},
        {"message": {"parts": [{"text": word}]}},
        {"message": {"message_id": "x", "metadata": {"b": [word]}}},
    ):
        with pytest.raises(WireFault):
            to_proto(value, kind)


class Ear:
    """Hears of refusals."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, str]] = []

    def refused(self, head, stage, reason) -> None:
        self.heard.append((str(stage), reason))


async def test_a_prober_of_the_parsers_is_heard_by_nobody():
    ear = Ear()
    async with client_of(endpoint(refusal_log=ear), "ann") as client:
        kind = {"content-type": "application/json"}
        for body in (
            b"{",
            b'{"a": 1, "a": 2}',
            b"[]",
            b'{"jsonrpc": "2.0", "method": "No", "id": 1}',
        ):
            await client.post("/", content=body, headers=kind)
        await client.get("/nothing")
        await client.post("/message:send", content=b'{"message": 7}', headers=kind)
        await client.post("/", json=call("GetTask", {"id": []}))
        assert [stage for stage, _ in ear.heard] == ["limits"] * 7
        await client.post("/", json=call("GetTask", {"id": "unknown"}))
        await client.post("/", json=call("SubscribeToTask", {"id": "unknown"}))
        await client.get("/tasks")
        assert len(ear.heard) == 7


def test_what_holds_a_credential_prints():
    head = RequestHead(
        binding=Binding.JSONRPC,
        http_method="POST",
        url="",
        headers={"authorization": "Bearer sesame"},
        scope={"headers": [(b"authorization", b"Bearer sesame")]},
    )
    inner = InnerRequest(body=b"sesame", query=b"sesame", headers=((b"x", b"sesame"),))
    assert "sesame" not in repr(head) + repr(inner)


@pytest.mark.parametrize("place", ["params", "epoch"])
def test_a_card_with_a_number_of_four_hundred_digits_breaks_its_reader(place):
    text = json.dumps(CARD).replace(
        '"n": 1', f'"n": 1{"0" * 400}' if place == "params" else '"n": 2'
    )
    if place == "epoch":
        text = text.replace("urn:x", NOISE_URI).replace('"n": 2', '"suites": ["x"], "epoch": 1e308')
        with pytest.raises(A2AError):
            noise_of(read_card(text.encode()))
        return
    with pytest.raises(CardError):
        read_card(text.encode())
