"""A hub for tests: its tables in memory, pins that trust at first sight, and servers that say what a test wants."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar

import anyio

from hive.core.call import EffectClass, Principal, PrincipalKind
from hive.core.clock import SystemClock
from hive.core.errors import ConflictError
from hive.core.ids import OwnerId
from hive.protocols.mcp.hub.hub import HubRegistry
from hive.protocols.mcp.hub.records import KeptServer, ServerRecords, no_server
from hive.protocols.mcp.ports import (
    NEWEST,
    McpError,
    PinnedTool,
    PinState,
    ServerSpec,
    TransportKind,
)

ALICE = Principal(kind=PrincipalKind.AGENT, name="alice-agent", owner=OwnerId("alice"))
BOB = Principal(kind=PrincipalKind.AGENT, name="bob-agent", owner=OwnerId("bob"))
TO_CLIENT = ContextVar("TO_CLIENT")
ECHO = {"name": "echo", "inputSchema": {"type": "object"}}


class TablesInMemory(ServerRecords):
    """The hub's tables without a database; the real ones have a suite of their own."""

    def __init__(self):
        self.rows = {}

    async def load(self):
        return [self.rows[name] for name in sorted(self.rows)]

    async def add(self, spec):
        if spec.name in self.rows:
            raise ConflictError("There is one already.")
        self.rows[spec.name] = KeptServer(spec=spec, added_at=SystemClock().now())
        return self.rows[spec.name].added_at

    async def remove(self, name):
        if self.rows.pop(name, None) is None:
            raise no_server(name)

    async def update(self, spec):
        kept = self.rows[spec.name]
        self.rows[spec.name] = KeptServer(
            spec=spec, description=kept.description, added_at=kept.added_at, tools=kept.tools
        )

    async def keep_listing(self, server, description, tools, *, before, private_to=""):
        kept = self.rows[server]
        now = SystemClock().now()
        self.rows[server] = KeptServer(
            spec=kept.spec,
            description=description,
            added_at=kept.added_at,
            listed_at=now,
            tools=tuple(tools),
            private_to=private_to,
        )
        return now


class TrustingPins:
    """Pin everything at first sight; a test blocks names by putting them into `blocked`."""

    def __init__(self):
        self.blocked = set()
        self.observers = []

    async def judge(self, spec, listed):
        return [
            PinnedTool(
                definition=one,
                state=PinState.CHANGED if one.full_name in self.blocked else PinState.PINNED,
                effect=EffectClass.ONCE,
            )
            for one in listed
        ]

    def on_change(self, observer):
        self.observers.append(observer)
        return lambda: self.observers.remove(observer)


class SomeCourier:
    """A client that keeps what it is told and answers every question with `answer`."""

    def __init__(self, client=None, answer=None, revision="2025-11-25"):
        self.client = client or {}
        self.revision = revision
        self.answer = answer or {"action": "accept", "content": {}}
        self.told = []
        self.asked = []
        self.heard = anyio.Event()

    async def notify(self, method, params):
        self.told.append((method, params))
        self.heard.set()

    async def ask(self, method, params):
        self.asked.append((method, params))
        return self.answer


class LineServer:
    """A server at the other end of two pipes in memory; `answers` maps a method to a result or a function.

    A function takes (server, id, params) and returns a result, or None to answer later or never.
    """

    def __init__(self, answers=None, *, stateless=False, tools=(ECHO,), capabilities=None):
        self.stateless = stateless
        self.capabilities = capabilities or {"tools": {}}
        self.heard = []
        self.notes = []
        self.answers = {"tools/list": {"tools": list(tools)}, **(answers or {})}
        self.starts = []
        self.living = 0
        self._to_client = None
        self.dead = anyio.Event()

    @asynccontextmanager
    async def launch(self, spec, owner, instance) -> AsyncIterator["LineStreams"]:
        self.starts.append((owner, instance, dict(spec.environment)))
        to_server, from_client = anyio.create_memory_object_stream[bytes](1000)
        to_client, from_server = anyio.create_memory_object_stream[bytes](1000)
        self._to_client = to_client
        self.living += 1
        try:
            async with (
                anyio.create_task_group() as tasks,
                to_server,
                to_client,
                from_client,
                from_server,
            ):
                tasks.start_soon(self._serve, from_client, to_client)
                yield LineStreams(to_server, from_server)
                tasks.cancel_scope.cancel()
        finally:
            self.living -= 1

    async def say(self, message):
        await self.say_raw(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")

    async def say_raw(self, data):
        await TO_CLIENT.get(self._to_client).send(data)

    def die(self):
        self._to_client.close()

    async def _serve(self, incoming, to_client):
        TO_CLIENT.set(to_client)
        async for data in incoming:
            for line in data.splitlines():
                await self._take(json.loads(line))

    async def _take(self, message):
        if "method" not in message:
            self.heard.append(("answer", message))
            return
        method, params = message["method"], message.get("params", {})
        self.heard.append((method, params))
        if "id" not in message:
            self.notes.append((method, params))
            return
        try:
            result = await self._result(message["id"], method, params)
        except McpError as error:
            await self.say(
                {"id": message["id"], "error": {"code": error.code, "message": error.message}}
            )
            return
        if result is not None:
            await self.say({"id": message["id"], "result": result})

    async def _result(self, number, method, params):
        if method == "server/discover" and self.stateless:
            return {"supportedVersions": [NEWEST], "capabilities": self.capabilities}
        if method == "initialize" and not self.stateless:
            return {
                "protocolVersion": "2025-11-25",
                "capabilities": self.capabilities,
                "serverInfo": {"name": "line", "version": "1"},
                "instructions": "Be brief.",
            }
        answer = self.answers.get(method)
        if answer is None:
            raise McpError(-32601, f"no {method}")
        return await answer(self, number, params) if callable(answer) else answer


class LineStreams:
    """The client's end."""

    def __init__(self, sending, receiving):
        self._sending = sending
        self._receiving = receiving

    async def send(self, item):
        await self._sending.send(item)

    async def receive(self, max_bytes=65536):
        return await self._receiving.receive()


def line_spec(name="line", **changed):
    return ServerSpec(name=name, transport=TransportKind.STDIO, argv=("server",), **changed)


@asynccontextmanager
async def hub_with(*specs, launch=None, tables=None, pins=None, secrets=None, **more):
    async def secret_of(name):
        return (secrets or {})[name]

    hub = HubRegistry(
        records=tables or TablesInMemory(),
        clock=more.pop("clock", None) or SystemClock(),
        pins=pins or TrustingPins(),
        secret_of=secret_of,
        launch=launch,
        **more,
    )
    async with hub.running():
        for spec in specs:
            await hub.add(spec)
        yield hub
