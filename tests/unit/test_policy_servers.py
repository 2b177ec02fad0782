"""Policies that live elsewhere, by HTTP, and Cedar in this process."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest

from hive.core.call import Verb
from hive.core.errors import ConfigError
from hive.core.json import Json, encode
from hive.security.policy.bundle import bundle_of
from hive.security.policy.drivers import POLICIES
from hive.security.policy.question import encoded
from hive.security.policy.standing import decision_of
from tests.policy_corpus import generated
from tests.policy_rig import MAIN, PolicyRoom, named, question

pytestmark = pytest.mark.anyio
RULES = """
deny contains "closed" if input.target == "files.write"
deny contains "not for bob" if { input.principal.owner == "bob"; input.verb == "invoke" }
deny contains "strangers" if input.principal.kind == "anonymous"
deny contains "no rule allows it" if {
	not input.verb in {"send", "invoke", "ask", "reach", "recall", "remember", "spawn"}
}
owe contains {"kind": "approval", "detail": "mail"} if input.target == "mail.send"
"""
POLICIES_CEDAR = """
@reason("closed") forbid(principal, action, resource == Hive::Target::"files.write");
@reason("not for bob")
forbid(principal, action == Hive::Action::"invoke", resource) when { context.principal.owner == "bob" };
@reason("strangers")
forbid(principal, action, resource) when { context.principal.kind == "anonymous" };
@reason("no rule allows it")
forbid(principal, action, resource) unless {
  ["send", "invoke", "ask", "reach", "recall", "remember", "spawn"].contains(context.verb)
};
@obligation("approval: mail") permit(principal, action, resource == Hive::Target::"mail.send");
permit(principal, action, resource);
"""


@asynccontextmanager
async def server(
    answer: bytes, *, status: str = "200 OK", after: float = 0.0
) -> AsyncIterator[str]:
    """Serve one answer to whoever asks; give the address, and what was asked in `asked`."""

    async def one(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            await stream.receive()
            await anyio.sleep(after)
            head = (
                f"HTTP/1.1 {status}\r\ncontent-length: {len(answer)}\r\nconnection: close\r\n\r\n"
            )
            await stream.send(head.encode() + answer)

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0)
    port = listener.extra(anyio.abc.SocketAttribute.local_port)
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, one)
        yield f"http://127.0.0.1:{port}"
        tasks.cancel_scope.cancel()


async def asked_of(tmp_path, url: str, **settings: object):
    room = PolicyRoom(tmp_path, policy_url=url, policy_timeout_s=20.0, **settings)
    await room.policy.open()
    try:
        return await room.policy.decide(question(arguments={"to": "a"}))
    finally:
        await room.policy.aclose()


async def test_an_opas_yes_is_a_yes(tmp_path):
    told = {"result": {"allow": True, "reasons": [], "obligations": [{"kind": "limit"}]}}
    async with server(encode(told)) as address:
        found = await asked_of(tmp_path, f"opa:{address}")
    assert found.allow
    assert [one.kind.value for one in found.obligations] == ["limit"]


@pytest.mark.parametrize(
    "told",
    [
        b"{}",
        b'{"result": true}',
        b'{"result": {"allow": "yes"}}',
        b'{"result": null}',
        b"<html>",
        b"",
        b'{"result": {"allow": true}, "result": {"allow": 1}}',
        b'{"result": {"allow": true, "reasons": ["' + b"x" * (70 << 10) + b'"]}}',
    ],
)
async def test_whatever_else_an_opa_says_is_a_no(tmp_path, told):
    async with server(told) as address:
        assert not (await asked_of(tmp_path, f"opa:{address}")).allow


async def test_an_error_of_the_server_is_a_no(tmp_path):
    async with server(b'{"result": {"allow": true}}', status="500 Oops") as address:
        assert not (await asked_of(tmp_path, f"opa:{address}")).allow


async def test_a_redirect_is_not_followed(tmp_path):
    async with server(b'{"result": {"allow": true}}', status="307 Elsewhere") as address:
        assert not (await asked_of(tmp_path, f"opa:{address}")).allow


async def test_a_server_that_says_nothing_is_a_no(tmp_path):
    silent = socket.create_server(("127.0.0.1", 0))
    room = PolicyRoom(
        tmp_path,
        policy_url=f"opa:http://127.0.0.1:{silent.getsockname()[1]}",
        policy_timeout_s=0.2,
    )
    await room.policy.open()
    found = await room.policy.decide(question())
    assert not found.allow
    assert "in time" in found.fault
    await room.policy.aclose()
    silent.close()


@pytest.mark.parametrize(
    "url",
    ["opa:", "opa:ftp://a", "opa:http://u:p@a", "opa:nonsense", "opa:http://a?arguments=sing"],
)
def test_an_address_that_is_none_is_told_at_the_start(tmp_path, url):
    with pytest.raises(ConfigError):
        PolicyRoom(tmp_path, policy_url=url)


@pytest.mark.parametrize(
    ("told", "allow"),
    [
        ({"decision": "Allow", "diagnostics": {"reason": ["policy0"], "errors": []}}, True),
        ({"decision": "Deny", "diagnostics": {"reason": ["no-files"], "errors": []}}, False),
        ({"decision": "Allow", "diagnostics": {"reason": [], "errors": ["policy1 broke"]}}, False),
        ({"decision": "allow"}, False),
        ({}, False),
    ],
)
async def test_a_cedar_agent_is_asked_in_its_own_words(tmp_path, told: Json, allow):
    pytest.importorskip("cedarpy")
    async with server(encode(told)) as address:
        assert (await asked_of(tmp_path, f"cedar:{address}")).allow is allow


async def test_cedar_and_rego_decide_alike_where_both_can_say_it(tmp_path):
    pytest.importorskip("cedarpy")
    files = {"main.rego": MAIN, "r.rego": f"package hive.rules.every\n{RULES}"}
    files["p.cedar"] = POLICIES_CEDAR
    bundle = named(bundle_of({name: text.encode() for name, text in files.items()}), 1)
    found = []
    for url in ("regorus:", "cedar:"):
        driver = POLICIES.load(url)(url, timeout_s=1.0)
        assert (await driver.trial(bundle)).passed
        found.append(await driver.compile(bundle))
    allowed = 0
    for asked in generated(500, seed=3):
        one, other = (
            decision_of(policy.ask(asked.verb, encoded(asked), asked.target), policy.version)
            for policy in found
        )
        assert one == other, asked
        allowed += one.allow
    assert 50 < allowed < 450


async def test_a_condition_of_cedar_that_fails_is_a_no(tmp_path):
    pytest.importorskip("cedarpy")
    text = b'forbid(principal, action, resource) when { context.arguments.to like "*evil*" };'
    bundle = bundle_of({"p.cedar": text + b"permit(principal, action, resource);"})
    room = PolicyRoom(tmp_path, policy_url="cedar:")
    await room.policy.open()
    await room.put(named(bundle, 1))
    assert (await room.policy.decide(question(arguments={"to": "a@example.org"}))).allow
    assert not (await room.policy.decide(question(arguments={"to": "a@evil"}))).allow
    for hidden in ({"to": ["a@evil"]}, {}, {"to": 5}, None):
        assert not (await room.policy.decide(question(arguments=hidden))).allow


async def test_a_permit_that_owes_nonsense_is_a_no(tmp_path):
    pytest.importorskip("cedarpy")
    bundle = bundle_of({"p.cedar": b'@obligation("sing") permit(principal, action, resource);'})
    room = PolicyRoom(tmp_path, policy_url="cedar:")
    await room.policy.open()
    await room.put(named(bundle, 1))
    assert not (await room.policy.decide(question())).allow


@pytest.mark.parametrize(
    ("query", "verbs"), [("", {"invoke", "reach", "spawn"}), ("?arguments=ask", {"ask"})]
)
async def test_a_server_is_sent_the_arguments_that_its_address_asks_for(tmp_path, query, verbs):
    room = PolicyRoom(tmp_path, policy_url=f"opa:http://127.0.0.1:9{query}")
    await room.policy.open()
    asked = {verb.value for verb in Verb if room.policy.reads_arguments(verb)}
    assert asked == verbs
    await room.policy.aclose()
