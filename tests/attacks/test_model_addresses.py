"""A provider's address that would give a key away: to a wire that is read, to a machine's metadata, to another host."""

import pytest
from anyio import fail_after

from hive.core.clock import SystemClock
from hive.core.errors import ConfigError, EngineUnavailableError
from hive.core.secret import Secret
from hive.protocols.models import UPSTREAMS
from hive.protocols.models import addresses as screened
from hive.protocols.models.addresses import is_metadata, provider_place
from hive.testing.model_provider import ModelProvider, ProviderFault
from tests.model_routing_rig import chat, said

pytestmark = pytest.mark.anyio
KEY = "sk-real-key-of-the-operator"
EXAMPLE = "openai:https://host/v1"


def opened(url, key=KEY):
    return UPSTREAMS.load(url).open(url, key=Secret(key), clock=SystemClock(), timeout_s=2)


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "169.254.170.2",
        "2852039166",
        "0xa9fea9fe",
        "0xa9.0xfe.0xa9.0xfe",
        "0251.0376.0251.0376",
        "169.254.43518",
        "[::ffff:169.254.169.254]",
        "[::ffff:a9fe:a9fe]",
        "[64:ff9b::a9fe:a9fe]",
        "[fe80::1]",
        "[fd00:ec2::254]",
        "100.100.100.200",
        "metadata.google.internal",
        "METADATA.google.internal.",
        "metadata",
        "0.0.0.0",
        "[::]",
        "224.0.0.1",
    ],
)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_no_spelling_of_a_metadata_service_is_a_provider(scheme, host):
    with pytest.raises(ConfigError):
        provider_place(f"openai:{scheme}://{host}/v1", Secret(""), example=EXAMPLE)


@pytest.mark.parametrize(
    "url",
    [
        "openai:http://models.example.org/v1",
        "openai:http://10.0.0.7:8000/v1",
        "openai:http://127.0.0.1.example.org/v1",
        "openai:http://127.0.0.1@models.example.org/v1",
        "openai:https://user:pw@models.example.org/v1",
        "openai:https://@models.example.org/v1",
        "openai:https://models.example.org/v1?key=1",
        "openai:https://models.example.org/v1#x",
        "openai:https://models.example.org\\@evil.example.org/v1",
        "openai:https://models.example.org/v1/../../x",
        "openai:https://models.example.org/%2e%2e/x",
        "openai:https://models.example.org/v1\r\nx: y",
        "openai:https://models.example.org/v1 x",
        "openai:https://models.example.org:99999/v1",
        "openai:https://[fe80::1%25eth0]/v1",
        "openai:file:///etc/passwd",
        "openai://models.example.org",
        "openai:",
    ],
)
def test_an_address_with_two_readings_or_without_cover_takes_no_key(url):
    with pytest.raises(ConfigError) as caught:
        provider_place(url, Secret(KEY), example=EXAMPLE)
    assert KEY not in f"{caught.value}{caught.value.fix}"


@pytest.mark.parametrize(
    "url",
    [
        "openai:http://127.0.0.1:8000/v1",
        "openai:http://localhost:8000/v1",
        "openai:http://[::1]:8000/v1",
        "openai:https://10.0.0.7/v1",
        "openai:https://models.example.org/api/v1?wires=chat",
    ],
)
def test_a_server_of_ones_own_is_a_provider(url):
    assert provider_place(url, Secret(KEY), example=EXAMPLE).host


def test_a_network_of_ones_own_is_one_without_a_key():
    assert provider_place("openai:http://10.0.0.7:8000/v1", Secret(""), example=EXAMPLE).host
    assert not is_metadata("10.0.0.7")


@pytest.mark.parametrize("address", ["169.254.169.254", "::ffff:169.254.169.254", "fd00:ec2::254"])
async def test_a_name_that_leads_to_a_metadata_service_is_not_connected_to(monkeypatch, address):
    async def resolve(host, port):
        return [address]

    monkeypatch.setattr(screened, "system_resolve", resolve)
    with fail_after(10):
        async with opened("openai:https://models.example.org/v1") as upstream:
            with pytest.raises(EngineUnavailableError):
                await said(upstream, chat("m"))


async def test_a_local_name_that_leads_elsewhere_does_not_get_the_key_in_the_clear(monkeypatch):
    provider = ModelProvider()
    async with provider.serving() as url:
        port = url.rpartition(":")[2]

        async def elsewhere(host, port):
            return ["192.0.2.7"]

        async def here(host, port):
            return ["127.0.0.1"]

        monkeypatch.setattr(screened, "system_resolve", elsewhere)
        with fail_after(10):
            async with opened(f"openai:http://localhost:{port}/v1") as upstream:
                with pytest.raises(EngineUnavailableError):
                    await said(upstream, chat("m"))
                monkeypatch.setattr(screened, "system_resolve", here)
                assert (await said(upstream, chat("m")))[0] == 200


async def test_a_redirect_takes_the_key_nowhere():
    thief, provider = ModelProvider(), ModelProvider()
    async with thief.serving() as elsewhere, provider.serving() as url:
        location = ("location", f"{elsewhere}/v1/chat/completions")
        provider.fault = ProviderFault(status=307, headers=(location,), body=b"{}")
        with fail_after(10):
            async with opened(f"openai:{url}/v1") as upstream:
                with pytest.raises(EngineUnavailableError, match="redirect"):
                    await said(upstream, chat("m"))
    assert (len(provider.seen), len(thief.seen)) == (1, 0)


@pytest.mark.parametrize("cut", [1, 5, 20, 1000])
async def test_a_provider_that_repeats_the_key_does_not_tell_it_to_an_agent(cut):
    from hive.protocols.models.scrub import KeyScrubber

    body = f'{{"error": "key {KEY} is wrong", "again": "{KEY}{KEY}", "part": "{KEY[:9]}"}}'.encode()
    scrubber, out = KeyScrubber(KEY.encode()), b""
    for start in range(0, len(body), cut):
        out += scrubber.feed(body[start : start + cut])
    out += scrubber.end()
    assert KEY.encode() not in out
    assert len(out) == len(body)
    assert out == body.replace(KEY.encode(), b"*" * len(KEY))

    provider = ModelProvider(fault=ProviderFault(status=400, body=body, headers=(("x-key", KEY),)))
    async with provider.serving() as url:
        with fail_after(10):
            async with opened(f"openai:{url}/v1") as upstream:
                _, told, answer = await said(upstream, chat("m"))
    assert KEY.encode() not in told
    assert KEY not in repr(answer.head)
