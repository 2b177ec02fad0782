"""What each kind of provider is sent: its own paths, its own header for the key, and nothing of the environment."""

import json

import pytest
from anyio import fail_after

from hive.core.clock import SystemClock
from hive.core.errors import ConfigError
from hive.core.secret import Secret
from hive.protocols.models import UPSTREAMS, Dialect, ModelRequest
from hive.protocols.models.routing import PRESETS
from hive.testing.model_provider import ModelProvider, ProviderFault
from tests.model_routing_rig import chat, route, routing, said, upstream

pytestmark = pytest.mark.anyio
KEY = "sk-real-key-of-the-operator"


def request(dialect, action="", query="", stream=False):
    document = {"model": "small", "contents": [], "input": "x", "messages": []}
    return ModelRequest(
        dialect=dialect,
        model="small",
        stream=stream,
        body=json.dumps(document).encode(),
        document=document,
        action=action,
        query=query,
    )


CASES = {
    "openai chat": ("openai:{}/v1", request(Dialect.CHAT), "/v1/chat/completions", "authorization"),
    "openai below a path": (
        "openai:{}/api/v1",
        request(Dialect.RESPONSES),
        "/api/v1/responses",
        "authorization",
    ),
    "openai embeddings": (
        "openai:{}/v1",
        request(Dialect.EMBEDDINGS),
        "/v1/embeddings",
        "authorization",
    ),
    "anthropic": ("anthropic:{}", request(Dialect.MESSAGES), "/v1/messages", "x-api-key"),
    "anthropic counting": (
        "anthropic:{}",
        request(Dialect.MESSAGES, "/count_tokens", "beta=true"),
        "/v1/messages/count_tokens?beta=true",
        "x-api-key",
    ),
    "gemini": (
        "gemini:{}",
        request(Dialect.GEMINI, "generateContent", "key=hive-handle"),
        "/v1beta/models/small:generateContent",
        "x-goog-api-key",
    ),
    "gemini stream": (
        "gemini:{}",
        request(Dialect.GEMINI, "streamGenerateContent", "alt=sse&key=hive-handle", stream=True),
        "/v1beta/models/small:streamGenerateContent?alt=sse",
        "x-goog-api-key",
    ),
    "azure": ("azure:{}", request(Dialect.CHAT), "/openai/v1/chat/completions", "api-key"),
    "azure deployments": (
        "azure:{}?api-version=2024-10-21",
        request(Dialect.CHAT),
        "/openai/deployments/small/chat/completions?api-version=2024-10-21",
        "api-key",
    ),
    "ollama": ("ollama:{}", request(Dialect.CHAT), "/v1/chat/completions", "authorization"),
}


@pytest.mark.parametrize(("url", "asked", "target", "header"), CASES.values(), ids=CASES)
async def test_each_provider_gets_its_own_path_and_its_key_in_its_own_header(
    monkeypatch, url, asked, target, header
):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    provider = ModelProvider(key=KEY)
    async with provider.serving() as address:
        driver = url.format(address)
        opening = UPSTREAMS.load(driver).open(
            driver, key=Secret(KEY), clock=SystemClock(), timeout_s=5
        )
        with fail_after(20):
            async with opening as opened:
                status, _, _ = await said(opened, asked)
                names = await opened.models()
    assert status == 200
    seen = provider.seen[0]
    assert target == seen.path + (f"?{seen.query}" if seen.query else "")
    assert [name for name, value in seen.headers.items() if KEY in value] == [header]
    assert seen.headers["host"] == address.removeprefix("http://")
    assert "hive-handle" not in repr(seen)
    assert list(names) == ([] if "api-version" in url else ["small", "large"])


async def test_a_model_name_cannot_leave_its_place_in_the_path():
    provider = ModelProvider()
    async with provider.serving() as url:
        driver = f"gemini:{url}"
        opening = UPSTREAMS.load(driver).open(
            driver, key=Secret(""), clock=SystemClock(), timeout_s=5
        )
        with fail_after(20):
            async with opening as opened:
                odd = ModelRequest(
                    dialect=Dialect.GEMINI,
                    model="../../v1/models?x=#\u00e9",
                    stream=False,
                    body=b"{}",
                    document={},
                    action="generateContent",
                )
                async with opened.ask(odd):
                    pass
    expected = "/v1beta/models/..%2F..%2Fv1%2Fmodels%3Fx%3D%23%C3%A9:generateContent"
    assert provider.seen[0].path == expected


@pytest.mark.parametrize(
    "url",
    ["gemini:https://h.example.org?wires=chat", "openai:https://h.example.org/v1?wires=gemini"],
)
async def test_a_wire_that_a_kind_of_provider_cannot_speak_is_refused(url):
    opening = UPSTREAMS.load(url).open(url, key=Secret("k"), clock=SystemClock(), timeout_s=5)
    with pytest.raises(ConfigError, match="wires"):
        async with opening:
            pass


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
async def test_every_preset_opens(preset):
    opening = UPSTREAMS.load(preset.url).open(
        preset.url, key=Secret("k"), clock=SystemClock(), timeout_s=5
    )
    async with opening as opened:
        assert Dialect.CHAT in opened.dialects or preset.name in ("anthropic", "gemini")


async def test_a_client_of_another_wire_is_answered_in_its_own_words():
    provider = ModelProvider()
    async with provider.serving() as url:
        rows = upstream("a", f"anthropic:{url}"), upstream("g", f"gemini:{url}")
        routes = [route("claude", "a/small"), route("gemini", "g/small")]
        async with routing(*rows, routes=routes) as router:
            for alias in ("claude", "gemini"):
                status, body, answer = await said(router, chat(alias, max_tokens=9))
                assert status == 200
                message = json.loads(body)["choices"][0]["message"]
                assert message["content"] == "Hello from the provider."
                assert answer.model == "small"
                _, stream, _ = await said(router, chat(alias, stream=True, max_tokens=9))
                assert b"chat.completion.chunk" in stream
                assert stream.rstrip().endswith(b"data: [DONE]")
    assert provider.seen[0].path == "/v1/messages"
    assert provider.seen[0].document["model"] == "small"


async def test_a_server_that_does_not_know_a_wire_is_asked_in_another_from_then_on():
    wires = frozenset({Dialect.CHAT, Dialect.EMBEDDINGS})
    provider = ModelProvider(wires=wires)
    document = {"model": "a/small", "input": "hi"}
    asked = ModelRequest(
        dialect=Dialect.RESPONSES,
        model="a/small",
        stream=False,
        body=json.dumps(document).encode(),
        document=document,
    )
    async with provider.serving() as url, routing(upstream("a", f"openai:{url}/v1")) as router:
        for _ in range(2):
            status, body, _ = await said(router, asked)
            assert status == 200
            assert json.loads(body)["object"] == "response"
        assert Dialect.RESPONSES not in router.live("a").spoken()
    paths = [one.path for one in provider.seen]
    assert paths == ["/v1/responses", "/v1/chat/completions", "/v1/chat/completions"]


async def test_a_model_that_is_missing_is_not_taken_for_a_missing_wire():
    fault = ProviderFault(status=404, message="The model `small` does not exist")
    provider = ModelProvider(fault=fault)
    async with provider.serving() as url, routing(upstream("a", f"openai:{url}/v1")) as router:
        status, body, _ = await said(router, chat("a/small"))
        assert Dialect.CHAT in router.live("a").spoken()
    assert (status, provider.asked) == (404, 1)
    assert b"does not exist" in body
