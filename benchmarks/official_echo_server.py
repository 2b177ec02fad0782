"""The official SDK's server with an agent that echoes, as its own examples build it.

python official_echo_server.py PORT [task|message [CERTIFICATE KEY]]
"""

import sys
from typing import Any, Final

import uvicorn
from a2a.helpers.proto_helpers import (
    get_message_text,
    new_message,
    new_task_from_user_message,
    new_text_artifact,
    new_text_part,
)
from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.events.event_queue_v2 import EventQueue
from a2a.server.request_handlers import DefaultRequestHandlerV2
from a2a.server.routes import create_jsonrpc_routes
from a2a.server.tasks import InMemoryTaskStore
from a2a.types import (
    AgentCapabilities,
    AgentCard,
    AgentInterface,
    AgentSkill,
    Message,
    Part,
    TaskState,
)
from starlette.applications import Starlette

SKILL: Final = "echo"


class Echo(AgentExecutor):
    """Answers with one artifact that holds what was said."""

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        """Make a task that is complete."""
        message = context.message
        if message is None:
            return
        task = new_task_from_user_message(message)
        artifact = new_text_artifact(name="answer", text=get_message_text(message))
        artifact.parts.extend(_data_of(message))
        task.artifacts.append(artifact)
        task.status.state = TaskState.TASK_STATE_COMPLETED
        await event_queue.enqueue_event(task)

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        """Do nothing: a task is complete at once."""


class EchoMessage(Echo):
    """Answers with a message, and no task."""

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        """Say it again."""
        message = context.message
        if message is None:
            return
        parts = [new_text_part(get_message_text(message)), *_data_of(message)]
        await event_queue.enqueue_event(new_message(parts, context_id=context.context_id))


EXECUTORS: Final[dict[str, type[Echo]]] = {"task": Echo, "message": EchoMessage}


def echo_card(url: str) -> AgentCard:
    """Return the card of an agent that echoes at a URL."""
    return AgentCard(
        name="echo",
        description="says it again",
        version="1.0.0",
        capabilities=AgentCapabilities(streaming=True),
        default_input_modes=["text/plain"],
        default_output_modes=["text/plain"],
        skills=[AgentSkill(id=SKILL, name="echo", description="says it again", tags=["echo"])],
        supported_interfaces=[
            AgentInterface(url=url, protocol_binding="JSONRPC", protocol_version="1.0")
        ],
    )


def _data_of(message: Message) -> list[Part]:
    return [part for part in message.parts if part.HasField("data")]


def main(port: int, reply: str = "task", certificate: str = "", key: str = "") -> None:
    """Serve on loopback, with TLS where a certificate is given."""
    tls: dict[str, Any] = {}
    if certificate:
        tls = {"ssl_certfile": certificate, "ssl_keyfile": key}
    card = echo_card(f"{'https' if tls else 'http'}://127.0.0.1:{port}/")
    handler = DefaultRequestHandlerV2(EXECUTORS[reply](), InMemoryTaskStore(), card)
    app = Starlette(routes=create_jsonrpc_routes(handler, "/"))
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="error", loop="uvloop", **tls)


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
