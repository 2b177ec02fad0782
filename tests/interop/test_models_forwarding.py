"""Official clients through the door to a provider over real HTTP: bytes, headers, keys, failures."""

import contextlib
import logging

import anyio
import openai
import pytest
from anyio import fail_after

from hive.core.call import Outcome
from hive.core.clock import SystemClock
from hive.core.secret import Secret
from hive.core.settings import Settings
from hive.protocols.models import ModelsDoor, open_upstream
from hive.testing.loopback import serve_app
from hive.testing.rehearsal_gate import HANDLE, SANDBOX, RehearsalGate

pytestmark = pytest.mark.anyio
KEY = "sk-real-key-of-the-operator"
ASK = {"model": "gpt-x", "messages": [{"role": "user", "content": "hi"}]}
EVENT = (
    b'data: {"id":"1","object":"chat.completion.chunk","created":0,"model":"gpt-x",'
    b'"choices":[{"index":0,"delta":{"content":"hel"},"finish_reason":null}],"usage":null}\n\n'
)


class Provider:
    """A provider that keeps what it was sent and answers with exact bytes."""

    def __init__(self, *, status=200, media="application/json", pieces=(), then=None):
        self.seen = []
        self.gone = anyio.Event()
        self._status, self._media, self._pieces, self._then = status, media, pieces, then

    async def __call__(self, scope, receive, send):
        body = b""
        while (message := await receive())["type"] == "http.request":
            body += message["body"]
            if not message["more_body"]:
                break
        headers = {key.decode(): value.decode() for key, value in scope["headers"]}
        self.seen.append((scope["path"], headers, body))
        await send(
            {
                "type": "http.response.start",
                "status": self._status,
                "headers": [
                    (b"content-type", self._media.encode()),
                    (b"x-request-id", b"r-1"),
                    (b"set-cookie", b"session=1"),
                    (b"connection", b"x-secret-hop"),
                    (b"x-secret-hop", b"1"),
                ],
            }
        )
        for piece in self._pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        if self._then == "hang":
            while (await receive())["type"] != "http.disconnect":
                pass
            self.gone.set()
            return
        if self._then == "break":
            raise ConnectionAbortedError
        await send({"type": "http.response.body", "body": b"", "more_body": False})


@contextlib.asynccontextmanager
async def through(provider, gate, *, scheme="openai", base="/v1"):
    clock = SystemClock()
    async with serve_app(provider) as upstream_url:
        settings = Settings(models=f"{scheme}:{upstream_url}{base}", model_key=Secret(KEY))
        async with open_upstream(settings, clock) as upstream:
            door = ModelsDoor(gate=gate, upstream=upstream, settings=settings, clock=clock)
            async with serve_app(door, sandbox=SANDBOX) as url:
                with fail_after(20):
                    yield url


def client_at(url):
    return openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=HANDLE, max_retries=0)


async def test_bytes_pass_unchanged_and_only_the_provider_sees_the_real_key(caplog):
    caplog.set_level(logging.DEBUG)
    answer = (
        b'{ "id":"c","object":"chat.completion","created":1,"model":"gpt-x","choices":'
        b'[{"index":0,"finish_reason":"stop","message":{"role":"assistant","content":"hey"}}],'
        b'  "usage":{"prompt_tokens":7,"completion_tokens":2,"total_tokens":9} }'
    )
    provider, gate = Provider(pieces=(answer[:30], answer[30:])), RehearsalGate()
    async with through(provider, gate) as url, client_at(url) as client:
        raw = await client.chat.completions.with_raw_response.create(**ASK)
    [(path, headers, body)] = provider.seen
    assert path == "/v1/chat/completions"
    assert headers["authorization"] == f"Bearer {KEY}"
    assert HANDLE not in repr(provider.seen)
    assert raw.content == answer
    assert raw.headers["x-request-id"] == "r-1"
    assert not {"set-cookie", "x-secret-hop"} & set(raw.headers)
    assert body.startswith(b"{")
    assert gate.calls[0].cost == {
        "input_tokens": 7,
        "output_tokens": 2,
        "answer_bytes": len(answer),
        "stream": False,
        "model": "gpt-x",
        "price_unknown": True,
    }
    assert KEY not in repr(gate.calls)
    assert KEY not in caplog.text
    assert HANDLE not in caplog.text


async def test_a_providers_own_error_passes_as_it_is():
    document = b'{"error":{"message":"quota","type":"insufficient_quota","code":"q","param":null}}'
    provider, gate = Provider(status=429, pieces=(document,)), RehearsalGate()
    async with through(provider, gate) as url, client_at(url) as client:
        with pytest.raises(openai.RateLimitError, match="quota") as caught:
            await client.chat.completions.create(**ASK)
    assert caught.value.code == "q"
    assert gate.outcomes == [Outcome.FAILED]


async def test_a_stream_that_breaks_ends_with_an_error_that_the_client_raises():
    provider = Provider(media="text/event-stream", pieces=(EVENT,), then="break")
    gate = RehearsalGate()
    async with through(provider, gate) as url, client_at(url) as client:
        stream = await client.chat.completions.create(**ASK, stream=True)
        first = await anext(stream)
        with pytest.raises(openai.APIError, match="provider"):
            await anext(stream)
    assert first.choices[0].delta.content == "hel"
    assert gate.outcomes == [Outcome.FAILED]


async def test_a_plain_answer_that_breaks_is_a_bad_gateway_and_never_half_an_answer():
    provider, gate = Provider(pieces=(b'{"id":',), then="break"), RehearsalGate()
    async with through(provider, gate) as url, client_at(url) as client:
        with pytest.raises(openai.InternalServerError) as caught:
            await client.chat.completions.create(**ASK)
    assert (caught.value.status_code, caught.value.code) == (502, "hive.upstream_unavailable")
    assert gate.outcomes == [Outcome.FAILED]


async def test_a_provider_that_is_away_is_a_bad_gateway_that_tells_no_address():
    gate, clock = RehearsalGate(), SystemClock()
    async with serve_app(Provider()) as gone:
        pass
    settings = Settings(models=f"openai:{gone}/v1", model_key=Secret(KEY))
    async with open_upstream(settings, clock) as upstream:
        door = ModelsDoor(gate=gate, upstream=upstream, settings=settings, clock=clock)
        async with serve_app(door, sandbox=SANDBOX) as url, client_at(url) as client:
            with pytest.raises(openai.InternalServerError) as caught:
                await client.chat.completions.create(**ASK)
    assert caught.value.status_code == 502
    assert "127.0.0.1" not in caught.value.response.text
    assert gate.outcomes == [Outcome.FAILED]


async def test_a_client_that_leaves_cancels_the_question_at_the_provider():
    provider = Provider(media="text/event-stream", pieces=(EVENT,), then="hang")
    gate = RehearsalGate()
    async with through(provider, gate) as url:
        async with client_at(url) as client:
            stream = await client.chat.completions.create(**ASK, stream=True)
            async for _ in stream:
                break
            await stream.close()
        with fail_after(30):
            await provider.gone.wait()
    assert gate.outcomes == [Outcome.CANCELED]


async def test_an_anthropic_provider_gets_its_key_in_its_own_header():
    answer = b'{"type":"message","usage":{"input_tokens":3,"output_tokens":4}}'
    provider, gate = Provider(pieces=(answer,)), RehearsalGate()
    async with through(provider, gate, scheme="anthropic", base="") as url:
        import anthropic

        async with anthropic.AsyncAnthropic(base_url=url, api_key=HANDLE, max_retries=0) as client:
            raw = await client.messages.with_raw_response.create(
                model="c", max_tokens=9, messages=[{"role": "user", "content": "x"}]
            )
    [(path, headers, _)] = provider.seen
    assert raw.content == answer
    assert (path, headers["x-api-key"]) == ("/v1/messages", KEY)
    assert headers["anthropic-version"]
    assert "authorization" not in headers
    assert gate.calls[0].cost["output_tokens"] == 4


async def test_model_names_are_asked_once_by_the_node_itself():
    provider = Provider(pieces=(b'{"data":[{"id":"gpt-x"},{"id":"gpt-y"}]}',))
    gate = RehearsalGate()
    async with through(provider, gate) as url, client_at(url) as client:
        names = [[model.id async for model in client.models.list()] for _ in range(3)]
    assert names == [["gpt-x", "gpt-y"]] * 3
    assert len(provider.seen) == 1
