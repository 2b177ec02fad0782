"""The official SDK's server with an agent that echoes, as its own examples build it."""

import sys

import uvicorn
from a2a.helpers.proto_helpers import (
    get_message_text,
    new_task_from_user_message,
    new_text_artifact,
)
from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.events.event_queue_v2 import EventQueue
from a2a.server.request_handlers import DefaultRequestHandlerV2
from a2a.server.routes import create_jsonrpc_routes
from a2a.server.tasks import InMemoryTaskStore
from a2a.types import AgentCapabilities, AgentCard, AgentInterface, AgentSkill, TaskState
from starlette.applications import Starlette


class Echo(AgentExecutor):
    """Answers with one artifact that holds what was said."""

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        """Make a task that is complete."""
        message = context.message
        if message is None:
            return
        task = new_task_from_user_message(message)
        text = get_message_text(message)
        task.artifacts.append(new_text_artifact(name="answer", text=text))
        task.status.state = TaskState.TASK_STATE_COMPLETED
        await event_queue.enqueue_event(task)

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        """Do nothing: a task is complete at once."""


def main(port: int) -> None:
    """Serve on loopback."""
    card = AgentCard(
        name="echo",
        description="says it again",
        version="1.0.0",
        capabilities=AgentCapabilities(streaming=True),
        default_input_modes=["text/plain"],
        default_output_modes=["text/plain"],
        skills=[AgentSkill(id="echo", name="echo", description="says it again", tags=["echo"])],
        supported_interfaces=[
            AgentInterface(
                url=f"http://127.0.0.1:{port}/", protocol_binding="JSONRPC", protocol_version="1.0"
            )
        ],
    )
    handler = DefaultRequestHandlerV2(Echo(), InMemoryTaskStore(), card)
    app = Starlette(routes=create_jsonrpc_routes(handler, "/"))
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="error", loop="uvloop")


if __name__ == "__main__":
    main(int(sys.argv[1]))
