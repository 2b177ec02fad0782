"""Foreign A2A servers for the tests of the command: the plain official one, and one that does as a test says."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from a2a.helpers.proto_helpers import new_task_from_user_message, new_text_part
from a2a.server.agent_execution import AgentExecutor
from a2a.server.request_handlers import DefaultRequestHandler
from a2a.server.routes import (
    create_agent_card_routes,
    create_jsonrpc_routes,
    create_rest_routes,
)
from a2a.server.tasks import (
    BasePushNotificationSender,
    InMemoryPushNotificationConfigStore,
    InMemoryTaskStore,
    TaskUpdater,
)
from a2a.types.a2a_pb2 import (
    AgentCapabilities,
    AgentCard,
    AgentExtension,
    AgentInterface,
    AgentSkill,
)
from anyio.from_thread import start_blocking_portal
from starlette.applications import Starlette

from hive.testing.loopback import serve_app


class EchoExecutor(AgentExecutor):
    """Answers with what it was sent; fails where it is told to."""

    async def execute(self, context, event_queue):
        task = new_task_from_user_message(context.message)
        task.id, task.context_id = context.task_id, context.context_id
        await event_queue.enqueue_event(task)
        updater = TaskUpdater(event_queue, task.id, task.context_id)
        text = context.get_user_input()
        if "fail" in text:
            await updater.failed()
            return
        await updater.add_artifact([new_text_part(f"echo: {text}")])
        await updater.complete()

    async def cancel(self, context, event_queue):
        await TaskUpdater(event_queue, context.task_id, context.context_id).cancel()


def plain_card(url: str, *, binding: str = "JSONRPC", required: bool = True) -> AgentCard:
    extensions = [AgentExtension(uri="urn:example:required", required=True)] if required else []
    return AgentCard(
        name="plain",
        description="An agent of the plain official SDK.",
        version="1.0",
        default_input_modes=["text/plain"],
        default_output_modes=["text/plain"],
        capabilities=AgentCapabilities(
            streaming=True, push_notifications=True, extensions=extensions
        ),
        supported_interfaces=[
            AgentInterface(url=url, protocol_binding=binding, protocol_version="1.0")
        ],
        skills=[AgentSkill(id="echo", name="echo", description="Echoes.", tags=["test"])],
    )


def official_app(url: str, *, binding: str = "JSONRPC", required: bool = True) -> Starlette:
    """Return the official server, its defaults as they are."""
    card = plain_card(url, binding=binding, required=required)
    webhooks = InMemoryPushNotificationConfigStore()
    handler = DefaultRequestHandler(
        agent_executor=EchoExecutor(),
        task_store=InMemoryTaskStore(),
        agent_card=card,
        push_config_store=webhooks,
        push_sender=BasePushNotificationSender(httpx.AsyncClient(), webhooks),
    )
    return Starlette(
        routes=[
            *create_agent_card_routes(agent_card=card),
            *create_jsonrpc_routes(request_handler=handler, rpc_url="/"),
            *create_rest_routes(request_handler=handler),
        ]
    )


class ScriptedAgent:
    """Serves a card, and answers each call with what `answer(head, body)` returns: (status, headers, body)."""

    def __init__(self, card, answer=None):
        self.card = card
        self.answer = answer or not_found
        self.calls = []

    async def __call__(self, scope, receive, send):
        body, more = b"", True
        while more:
            event = await receive()
            body += event.get("body", b"")
            more = event.get("more_body", False)
        if scope["path"].endswith(".json"):
            card = self.card if isinstance(self.card, bytes) else json.dumps(self.card).encode()
            status, headers, text = 200, {}, card
        else:
            head = {key.decode(): value.decode() for key, value in scope["headers"]}
            head["path"] = scope["path"]
            self.calls.append((scope["method"], scope["path"], head, body))
            status, headers, text = self.answer(head, body)
        lines = {"content-type": "application/json", **headers}
        await send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [(k.encode(), v.encode()) for k, v in lines.items()],
            }
        )
        await send({"type": "http.response.body", "body": text})


def error(code: int, message: str = "no") -> bytes:
    return json.dumps(
        {"jsonrpc": "2.0", "id": 1, "error": {"code": code, "message": message}}
    ).encode()


def result(value) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": 1, "result": value}).encode()


def not_found(head, body):
    return 200, {}, error(-32001)


@contextmanager
def served(make) -> Iterator[str]:
    """Serve what `make(url)` returns on a thread of its own; give the URL."""
    made = {}

    async def late(scope, receive, send):
        await made["app"](scope, receive, send)

    with (
        start_blocking_portal(backend_options={"use_uvloop": True}) as portal,
        portal.wrap_async_context_manager(serve_app(late)) as url,
    ):
        made["app"] = portal.call(make, url + "/")
        yield url


def served_in_loop(app):
    """Serve an app in the test's own loop; give the URL."""
    return serve_app(app)
