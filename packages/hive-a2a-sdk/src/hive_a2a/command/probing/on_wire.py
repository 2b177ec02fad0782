"""Probes of how requests are read: size, depth, type, time, versions, errors."""

import gzip
import re
import ssl
from typing import Final
from urllib.parse import urlsplit

import anyio
from anyio.abc import ByteStream

from hive_a2a.call import Binding
from hive_a2a.command.probing.agent import ForeignReply, ProbedAgent
from hive_a2a.command.probing.findings import (
    AttackProbe,
    Severity,
    Sight,
    fails,
    not_applicable,
    unclear,
    withstands,
)
from hive_a2a.origins import is_loopback

LARGE_BYTES: Final = 30 << 20
DEPTH: Final = 20_000
DRIPS: Final = 40
GATED: Final = "Nobody gets that far without a token (--token) or a sealed request"
_LEAKS: Final = re.compile(
    r"Traceback \(most recent call last\)"
    r"|File \"[^\"]{1,200}\", line \d+"
    r"|site-packages[/\\]"
    r"|\bat [\w.$<>]{1,200}\([\w.]{1,100}\.(?:java|kt|js|ts|cs)(?::\d+){1,2}\)"
    r"|goroutine \d+ \["
    r"|(?:psycopg|asyncpg|sqlalchemy|sqlite3|pymysql)\.\w"
    r"|(?:KeyError|TypeError|AttributeError|RecursionError|NullPointerException)\b"
    r"|/(?:home|usr|var|root|opt|app|srv)/[\w./-]{3,}\.(?:py|js|go|rs|rb|java)\b"
)


async def _judge(agent: ProbedAgent, reply: ForeignReply, *, may_break: bool = False) -> Sight:
    """Judge an answer to a request that should not have got as far as the harmless one inside it.

    `may_break`: that the handling breaks is what the attack is after.
    """
    if agent.control.at_the_gate and reply.at_the_gate:
        return unclear(f"{GATED} ({reply}).")
    if not agent.control.status:
        return unclear("The server gave no answer to an ordinary request either.")
    if reply.kind == agent.control.kind:
        return fails(f"It was read and answered like an ordinary request ({reply}).")
    if reply.status >= 500 or reply.code == -32603:
        told = f"It broke the handling of the request ({reply})."
        return fails(told) if may_break else unclear(told)
    if not reply.status and not await agent.alive():
        return fails("There was no answer, and there is none to an ordinary request any more.")
    return withstands(f"It was refused ({reply}).")


async def no_tls(agent: ProbedAgent) -> Sight:
    """See whether the endpoint is reached over TLS."""
    if urlsplit(agent.endpoint).scheme == "https":
        return withstands("The endpoint is https, and its certificate is valid.")
    if is_loopback(agent.endpoint):
        return not_applicable("The endpoint is on this machine.")
    return fails(f"The endpoint is {agent.endpoint}.")


async def large_body(agent: ProbedAgent) -> Sight:
    """Send 30 MB."""
    return await _judge(agent, await agent.harmless(wrap=(b" " * LARGE_BYTES, b"")))


async def packed_body(agent: ProbedAgent) -> Sight:
    """Send 30 MB that look like 30 KB."""
    text = b" " * LARGE_BYTES + agent.harmless_text()
    headers = {**agent.headers(), "content-encoding": "gzip"}
    return await _judge(agent, await agent.harmless(body=gzip.compress(text, 1), headers=headers))


async def deep_body(agent: ProbedAgent) -> Sight:
    """Send a value that is nested very deeply."""
    extra = '"probe":' + "[" * DEPTH + "]" * DEPTH
    return await _judge(agent, await agent.harmless(extra=extra), may_break=True)


async def wrong_type(agent: ProbedAgent) -> Sight:
    """Send JSON as plain text, as any web page can make a browser do without asking."""
    headers = {**agent.headers(), "content-type": "text/plain"}
    return await _judge(agent, await agent.harmless(headers=headers))


async def twice_named(agent: ProbedAgent) -> Sight:
    """Name a member twice, so that two readers of it disagree."""
    extra = '"probe":1,"probe":2' if agent.binding is Binding.REST else '"id":1'
    return await _judge(agent, await agent.harmless(extra=extra))


async def not_json(agent: ProbedAgent) -> Sight:
    """Send what is not JSON, and see whether the error is the standard's."""
    reply = await agent.harmless(body=b'{"jsonrpc": ')
    if reply.at_the_gate:
        return unclear(f"{GATED} ({reply}).")
    if agent.binding is Binding.REST:
        good = 400 <= reply.status < 500 and reply.kind != agent.control.kind
    else:
        good = reply.code in (-32700, -32600)
    if good:
        return withstands(f"The error is the standard's ({reply}).")
    return fails(f"The error is not the standard's ({reply}).")


async def unknown_method(agent: ProbedAgent) -> Sight:
    """Call a method that does not exist."""
    if agent.binding is Binding.REST:
        url = f"{agent.endpoint.rstrip('/')}/message:hiveProbe"
        reply = await agent.send("POST", url, b"{}", agent.headers())
        good = reply.status in (404, 405, 501)
    else:
        body = b'{"jsonrpc":"2.0","id":1,"method":"HiveProbe","params":{}}'
        reply = await agent.harmless(body=body)
        good = reply.code == -32601
    if reply.at_the_gate:
        return unclear(f"{GATED} ({reply}).")
    if 300 <= reply.status < 400:
        return unclear(f"It leads elsewhere ({reply}).")
    return (withstands if good else fails)(f"The answer was {reply}.")


async def unknown_version(agent: ProbedAgent) -> Sight:
    """Speak a version that does not exist."""
    reply = await agent.harmless(headers={**agent.headers(), "a2a-version": "99.0"})
    if reply.code == -32009:
        return withstands(f"The version was refused as the standard says ({reply}).")
    if reply.at_the_gate or not reply.status:
        return unclear(f"{GATED} ({reply}).")
    if reply.kind == agent.control.kind:
        return fails(f"Version 99.0 was answered like 1.0 ({reply}).")
    return fails(f"The version was refused with another error than VersionNotSupported ({reply}).")


async def two_versions(agent: ProbedAgent) -> Sight:
    """Say 0.3 in the header and speak 1.0 in the body."""
    if agent.binding is Binding.REST:
        return not_applicable("On HTTP+JSON the version stands in the header alone.")
    return await _judge(
        agent, await agent.harmless(headers={**agent.headers(), "a2a-version": "0.3"})
    )


async def any_origin(agent: ProbedAgent) -> Sight:
    """Ask as a web page of another origin, with the reader's credentials."""
    origin = "https://hive-probe.example"
    reply = await agent.harmless(headers={**agent.headers(), "origin": origin})
    allowed = reply.headers.get("access-control-allow-origin", "")
    if allowed == origin and reply.headers.get("access-control-allow-credentials") == "true":
        return fails("Any web page may call it with the credentials of whoever looks at the page.")
    if not reply.status:
        return unclear("There was no answer.")
    return withstands(f"Access-Control-Allow-Origin is {allowed or 'not sent'}.")


async def leaking_errors(agent: ProbedAgent) -> Sight:
    """Send values of wrong types, and read every error for what only the server should know."""
    odd = (
        b'{"jsonrpc":"2.0","id":1,"method":"GetTask","params":[]}',
        b'{"jsonrpc":"2.0","id":1,"method":"GetTask","params":{"id":{"a":1}}}',
        b'{"jsonrpc":"2.0","id":1,"method":"GetTask","params":{"id":"x","historyLength":"y"}}',
        b'{"jsonrpc":"2.0","id":{},"method":7,"params":null}',
        b'{"jsonrpc":"2.0","id":1,"method":"ListTasks","params":{"pageToken":"\\u0000"}}',
        b"[]",
        b'"\xff\xfe"',
    )
    for body in odd:
        await agent.harmless(body=body)
    for reply in agent.replies:
        if reply.code or reply.status >= 400:
            found = _LEAKS.search(reply.text)
            if found:
                return fails(f"An error tells {found[0][:80]!r} ({reply}).")
    return withstands(f"{len(agent.replies)} answers tell nothing of the server's inside.")


async def slow_head(agent: ProbedAgent) -> Sight:
    """Send the headers a line at a time, and never end."""
    return await _drip(agent, _head(agent), b"x-probe: 1\r\n")


async def slow_body(agent: ProbedAgent) -> Sight:
    """Send the body a byte at a time, and never end."""
    head = _head(agent) + b"content-type: application/json\r\na2a-version: 1.0\r\n"
    if agent.token:
        head += f"authorization: Bearer {agent.token}\r\n".encode()
    return await _drip(agent, head + b"content-length: 4096\r\n\r\n", b" ")


def _head(agent: ProbedAgent) -> bytes:
    parts = urlsplit(agent.endpoint)
    return f"POST {parts.path or '/'} HTTP/1.1\r\nhost: {parts.netloc}\r\n".encode()


async def _drip(agent: ProbedAgent, head: bytes, drop: bytes) -> Sight:
    """Hold a connection open with as little as can be, for as long as the patience lasts."""
    try:
        stream = await _connect(agent.endpoint)
    except (OSError, ssl.SSLError):
        return unclear("A connection of its own could not be made.")
    answer = b""
    async with stream:
        with anyio.move_on_after(agent.patience_s):
            async with anyio.create_task_group() as tasks:

                async def pour() -> None:
                    try:
                        await stream.send(head)
                        while True:
                            await anyio.sleep(agent.patience_s / DRIPS)
                            await stream.send(drop)
                    except (OSError, anyio.BrokenResourceError, anyio.ClosedResourceError):
                        return

                tasks.start_soon(pour)
                try:
                    answer = await stream.receive(4096) or b"closed"
                except (OSError, anyio.EndOfStream, anyio.BrokenResourceError):
                    answer = b"closed"
                tasks.cancel_scope.cancel()
    if not answer:
        return fails(f"The connection was still held open after {agent.patience_s:g} s.")
    line = answer.split(b"\r\n", 1)[0][:60].decode(errors="replace")
    return withstands(f"It was ended: {line}.")


async def _connect(url: str) -> ByteStream:
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme == "https":
        return await anyio.connect_tcp(
            host, parts.port or 443, tls=True, tls_standard_compatible=False
        )
    return await anyio.connect_tcp(host, parts.port or 80)


WIRE_PROBES: Final = (
    AttackProbe(
        id="wire-tls",
        title="Missing transport security",
        severity=Severity.HIGH,
        clause="7.1, 13.4",
        sends="nothing; looks at the endpoint's URL",
        fix="Serve over TLS, and name the https URL in the card.",
        run=no_tls,
    ),
    AttackProbe(
        id="wire-large-body",
        title="Oversized body",
        severity=Severity.HIGH,
        clause="13.4",
        sends="one POST of 30 MB of spaces around a harmless request",
        fix="Refuse bodies above a few megabytes with 413 before they are read.",
        run=large_body,
    ),
    AttackProbe(
        id="wire-packed-body",
        title="Compressed body that unfolds",
        severity=Severity.HIGH,
        clause="13.4",
        sends="one POST of about 30 KB, gzip, that unfolds to 30 MB",
        fix="Refuse content encodings, or bound what is unfolded.",
        run=packed_body,
    ),
    AttackProbe(
        id="wire-deep-body",
        title="Deeply nested body",
        severity=Severity.MEDIUM,
        clause="13.4",
        sends="one POST of a JSON value 20,000 levels deep",
        fix="Bound the depth before the body is parsed.",
        run=deep_body,
    ),
    AttackProbe(
        id="wire-content-type",
        title="Wrong content type",
        severity=Severity.MEDIUM,
        clause="9.1, 13.4",
        sends="a harmless request as text/plain",
        fix="Refuse other types than application/json and application/a2a+json, with the error -32005.",
        run=wrong_type,
    ),
    AttackProbe(
        id="wire-duplicate-keys",
        title="Duplicate keys",
        severity=Severity.LOW,
        clause="RFC 8259, 4",
        sends="a harmless request that names a member twice",
        fix="Refuse JSON that names a member twice.",
        run=twice_named,
    ),
    AttackProbe(
        id="wire-not-json",
        title="Error for what is not JSON",
        severity=Severity.LOW,
        clause="5.4, 9.5",
        sends="half a JSON object",
        fix="Answer -32700 (JSON-RPC), or 400 (HTTP+JSON).",
        run=not_json,
    ),
    AttackProbe(
        id="wire-unknown-method",
        title="Error for an unknown method",
        severity=Severity.LOW,
        clause="9.5",
        sends="a call of a method that does not exist",
        fix="Answer -32601 (JSON-RPC), or 404 (HTTP+JSON).",
        run=unknown_method,
    ),
    AttackProbe(
        id="wire-unknown-version",
        title="Unknown protocol version",
        severity=Severity.LOW,
        clause="3.6.2",
        sends="a harmless request with A2A-Version: 99.0",
        fix="Answer VersionNotSupported (-32009).",
        run=unknown_version,
    ),
    AttackProbe(
        id="wire-version-disagrees",
        title="Header and body of different versions",
        severity=Severity.MEDIUM,
        clause="3.6",
        sends="a harmless request of 1.0 with A2A-Version: 0.3",
        fix="Let the header decide how the body is read, and nothing else.",
        run=two_versions,
    ),
    AttackProbe(
        id="wire-any-origin",
        title="Open to every web page",
        severity=Severity.MEDIUM,
        clause="13.4",
        sends="a harmless request with a foreign Origin header",
        fix="Name the origins that may call, and none with credentials that you do not know.",
        run=any_origin,
    ),
    AttackProbe(
        id="wire-slow-head",
        title="Slow headers",
        severity=Severity.MEDIUM,
        clause="13.4",
        sends="one connection whose headers never end",
        fix="Bound the time for the headers.",
        run=slow_head,
        slow=True,
    ),
    AttackProbe(
        id="wire-slow-body",
        title="Slow body",
        severity=Severity.MEDIUM,
        clause="13.4",
        sends="one connection whose body never ends",
        fix="Bound the time for the body.",
        run=slow_body,
        slow=True,
    ),
)
LEAK_PROBE: Final = AttackProbe(
    id="wire-leaking-errors",
    title="Errors that tell internals",
    severity=Severity.MEDIUM,
    clause="3.3.2",
    sends="seven harmless requests of wrong types; reads all answers so far",
    fix="Answer with the standard's error, and keep the reason in your own log.",
    run=leaking_errors,
)
