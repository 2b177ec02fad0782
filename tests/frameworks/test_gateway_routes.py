"""Clients of one wire on a node whose only model speaks another: the gateway translates both ways."""

import pytest

from hive.protocols.models.ports import Dialect
from hive.testing.rehearsal_gate import HANDLE
from tests.frameworks.client_matrix import CALLS_PER_TASK, FEATURES, RULES, show
from tests.frameworks.one_wire_provider import provider_of

PROVIDERS = {
    "messages": ("anthropic", Dialect.MESSAGES),
    "gemini": ("gemini", Dialect.GEMINI),
    "chat": ("openai", Dialect.CHAT),
}
MODELS = ("gpt-4o-mini", "claude-sonnet-4-5", "gemini-2.5-flash")
CLIENTS = [
    ("openai", "chat"),
    ("openai", "responses"),
    ("langgraph", "chat"),
    ("pydantic-ai", "chat"),
    ("pydantic-ai", "responses"),
    ("anthropic", "messages"),
    ("google-genai", "gemini"),
]
ROWS = [
    (provider, name, wire)
    for provider in PROVIDERS
    for name, wire in CLIENTS
    if wire != provider and (provider != "chat" or wire in ("messages", "gemini"))
]


@pytest.fixture(scope="module", params=PROVIDERS)
def provider(request, gateway_node):
    """Lead every model's name to a provider of one wire."""
    scheme, dialect = PROVIDERS[request.param]
    name = f"only-{request.param}"
    with provider_of(dialect, str(RULES)) as (url, upstream), pytest.MonkeyPatch.context() as patch:
        patch.setenv("KEY_OF_PROVIDER", HANDLE)
        address = f"{scheme}:{url}/v1" if scheme == "openai" else f"{scheme}:{url}"
        wires = ("--wires", request.param) if scheme == "openai" else ()
        gateway_node.hive("llm", "add", name, address, "--key-env", "KEY_OF_PROVIDER", *wires)
        # By their whole names: a name that a provider lists wins over a pattern.
        for model in MODELS:
            gateway_node.hive("llm", "use", model, name)
        yield request.param, upstream
        for model in MODELS:
            gateway_node.hive("llm", "use", model, "--rm")


@pytest.mark.parametrize(("name", "wire"), CLIENTS, ids=[f"{one}-{wire}" for one, wire in CLIENTS])
def test_an_unmodified_client_works_with_a_model_of_another_wire(
    gateway_node, client, provider, shown, name, wire
):
    upstream, asked_of = provider
    if (upstream, name, wire) not in ROWS:
        pytest.skip("its own wire, or one that stands for it")
    before = asked_of.asked
    told = show(gateway_node, client(name), wire)

    assert asked_of.asked > before, "the scripted model answered, and nothing was translated"
    shown.append(told.row(name, wire, upstream))
    assert tuple(told.features) == FEATURES
    assert told.failures == {}
    assert asked_of.asked - before == CALLS_PER_TASK
