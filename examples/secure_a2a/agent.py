"""An agent with the SDK alone: the executor is an official one, the server is secure.

python agent.py            serve on port 8000 until Ctrl-C
"""

from a2a.helpers.proto_helpers import (
    get_message_text,
    new_task_from_user_message,
    new_text_artifact,
)
from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.events import EventQueue
from a2a.types import AgentCapabilities, AgentCard, AgentInterface, AgentSkill, TaskState

from hive_a2a.server import SecureA2AServer

URL = "http://127.0.0.1:8000/"

card = AgentCard(
    name="greeter",
    description="Says hello.",
    version="1.0.0",
    capabilities=AgentCapabilities(streaming=True),
    default_input_modes=["text/plain"],
    default_output_modes=["text/plain"],
    skills=[AgentSkill(id="greet", name="greet", description="Says hello.", tags=["greeting"])],
    supported_interfaces=[
        AgentInterface(url=URL, protocol_binding="JSONRPC", protocol_version="1.0")
    ],
)


class Greeter(AgentExecutor):
    """Greets whoever is named."""

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        """Answer with a task that is complete."""
        task = new_task_from_user_message(context.message)
        greeting = f"Hello, {get_message_text(context.message)}!"
        task.artifacts.append(new_text_artifact(name="greeting", text=greeting))
        task.status.state = TaskState.TASK_STATE_COMPLETED
        await event_queue.enqueue_event(task)

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        """Do nothing: a task is complete at once."""


if __name__ == "__main__":
    SecureA2AServer(card, Greeter()).run(port=8000)
