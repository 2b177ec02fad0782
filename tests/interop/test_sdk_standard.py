"""What the standard demands in so many words and the plain official server leaves out, over every binding.

The card is the first thing that a foreign suite reads, so its page is looked at here too.
"""

import base64
import json
import re

import grpc
import httpx
import pytest
from a2a.types import a2a_pb2 as pb
from a2a.types.a2a_pb2_grpc import A2AServiceStub
from a2a.utils.errors import ContentTypeNotSupportedError, ExtensionSupportRequiredError
from tests.interop.sdk_peers.executors import Asker, Everything, saying
from tests.interop.sdk_peers.servers import BINDINGS, REST, client_of, official, secured

from hive_a2a.handler.input_modes import admit_input_modes
from hive_a2a.policy import Policy
from hive_a2a.push.screen import DestinationScreen, Unfit

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::DeprecationWarning")]
JSON = {"content-type": "application/json", "a2a-version": "1.0"}
NEEDED = pb.AgentExtension(uri="urn:example:needed", required=True)


def both(tmp_path, executor=Everything, **offered):
    return official(executor(), **offered), secured(executor(), tmp_path, card=offered)


async def events_of(client, request):
    return [event async for event in client.send_message(request)]


def of_type(media_type):
    request = saying("x")
    request.message.parts[0].media_type = media_type
    return request


@pytest.mark.parametrize("streaming", [True, False])
@pytest.mark.parametrize("binding", BINDINGS)
async def test_a_media_type_that_the_card_does_not_name_is_refused(binding, streaming, tmp_path):
    plain, ours = both(tmp_path)
    async with plain as served, client_of(served, binding, streaming=streaming) as client:
        assert await events_of(client, of_type("application/x-strange"))
    async with ours as served, client_of(served, binding, streaming=streaming) as client:
        with pytest.raises(ContentTypeNotSupportedError):
            await events_of(client, of_type("application/x-strange"))
        # The card says "text", as those of most samples do.
        assert await events_of(client, of_type("text/plain"))


@pytest.mark.parametrize(
    ("declared", "stated", "taken"),
    [
        ((), "any/thing", True),
        (("text/plain",), "", True),
        (("text/plain",), "text/plain; charset=utf-8", True),
        (("Text/Plain;charset=utf-8",), "text/plain", True),
        (("text/plain",), "text/html", False),
        (("text",), "text/html", True),
        (("text",), "image/png", False),
        (("image/*",), "image/png", True),
        (("image/*",), "audio/wav", False),
        (("*/*",), "audio/wav", True),
        (("json",), "application/json", True),
        (("data",), "application/xml", False),
        (("file",), "application/pdf", True),
    ],
)
def test_a_card_takes_what_it_means(declared, stated, taken):
    message = pb.Message(parts=[pb.Part(text="x"), pb.Part(text="x", media_type=stated)])
    of_skill = pb.AgentCard(skills=[pb.AgentSkill(input_modes=declared)])
    for card in (pb.AgentCard(default_input_modes=declared), of_skill):
        if taken:
            admit_input_modes(message, card)
        else:
            with pytest.raises(ContentTypeNotSupportedError, match=re.escape(stated)):
                admit_input_modes(message, card)


@pytest.mark.parametrize("binding", BINDINGS)
async def test_a_required_extension_is_required(binding, tmp_path):
    plain, ours = both(tmp_path, extensions=[NEEDED])
    async with plain as served, client_of(served, binding) as client:
        assert await events_of(client, saying("x"))
    named = {"A2A-Extensions": NEEDED.uri}
    async with ours as served:
        async with client_of(served, binding) as client:
            with pytest.raises(ExtensionSupportRequiredError):
                await events_of(client, saying("x"))
        async with client_of(served, binding, headers=named) as client:
            assert await events_of(client, saying("x"))


async def asked_as_of(served, version):
    wanted = pb.GetTaskRequest(id="nowhere")
    async with grpc.aio.insecure_channel(f"127.0.0.1:{served.grpc_port}") as channel:
        with pytest.raises(grpc.aio.AioRpcError) as told:
            await A2AServiceStub(channel).GetTask(wanted, metadata=(("a2a-version", version),))
    return told.value.code()


async def test_a_version_of_tomorrow_is_refused_over_grpc(tmp_path):
    plain, ours = both(tmp_path)
    async with plain as served:
        assert await asked_as_of(served, "99.0") is grpc.StatusCode.NOT_FOUND
    async with ours as served:
        assert await asked_as_of(served, "99.0") is grpc.StatusCode.FAILED_PRECONDITION
        assert await asked_as_of(served, "1.0") is grpc.StatusCode.NOT_FOUND


async def test_a_wrong_content_type_has_the_status_of_the_table(tmp_path):
    body = json.dumps(
        {"message": {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "x"}]}}
    )
    headers = {**JSON, "content-type": "text/plain"}
    async with secured(Everything(), tmp_path) as served, httpx.AsyncClient() as http:
        told = await http.post(served.url + REST + "/message:send", content=body, headers=headers)
        assert (told.status_code, told.json()["error"]["code"]) == (400, 400)
        assert told.json()["error"]["details"][0]["reason"] == "CONTENT_TYPE_NOT_SUPPORTED"
        told = await http.post(served.url + "/", content=body, headers=headers)
        assert (told.status_code, told.json()["error"]["code"]) == (415, -32005)


async def test_the_card_may_be_kept_for_a_while_and_says_who_signed_it(tmp_path):
    async with secured(Everything(), tmp_path) as served, httpx.AsyncClient() as http:
        page = await http.get(served.url + "/.well-known/agent-card.json")
        again = await http.get(
            served.url + "/.well-known/agent-card.json",
            headers={"if-none-match": page.headers["etag"]},
        )
        keys = (await http.get(served.url + "/.well-known/jwks.json")).json()["keys"]
    assert "max-age=" in page.headers["cache-control"]
    assert page.headers["last-modified"]
    assert again.status_code == 304
    (signature,) = page.json()["signatures"]
    head = json.loads(base64.urlsafe_b64decode(signature["protected"] + "=="))
    assert head["alg"] == "EdDSA"
    assert head["kid"] in {key["kid"] for key in keys}


async def test_an_open_server_takes_a_webhook_whose_name_is_not_known_yet():
    async def unknown(_host, _port):
        return []

    url = "https://hooks.example.com/a"
    assert await DestinationScreen(allow_private=True, resolve=unknown).refusal(url) is None
    assert isinstance(await DestinationScreen(resolve=unknown).refusal(url), Unfit)
    # At delivery it is looked at again, whatever was said at registration.
    looked = await DestinationScreen(allow_private=True, resolve=unknown).look(url)
    assert isinstance(looked, Unfit)
    assert isinstance(await DestinationScreen(allow_private=True).refusal("ftp://a/"), Unfit)


@pytest.mark.parametrize("binding", BINDINGS)
async def test_a_webhook_that_nobody_answers_for_may_be_registered_in_the_open(binding, tmp_path):
    async with (
        secured(Asker(), tmp_path, policy=Policy.open()) as served,
        client_of(served, binding) as client,
    ):
        task = (await events_of(client, saying("x")))[0].task
        config = pb.TaskPushNotificationConfig(task_id=task.id, url="https://nobody.invalid/hook")
        made = await client.create_task_push_notification_config(config)
    assert made.id


async def test_a_stream_of_0_3_that_fails_at_once_says_so(tmp_path):
    """The official adapter has sent its head by then: its client sees a broken connection."""
    body = {"request": {"messageId": "m", "role": "ROLE_USER", "content": [{"text": "x"}]}}
    body["request"]["taskId"] = "nowhere"
    plain, ours = both(tmp_path)
    async with httpx.AsyncClient() as http:
        async with plain as served:
            with pytest.raises(httpx.RemoteProtocolError):
                await http.post(served.url + REST + "/v1/message:stream", json=body)
        async with ours as served:
            told = await http.post(served.url + REST + "/v1/message:stream", json=body)
    assert told.status_code == 404
    assert told.json()["error"]["details"][0]["reason"] == "TASK_NOT_FOUND"
