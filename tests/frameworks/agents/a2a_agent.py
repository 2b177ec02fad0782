"""An agent that serves A2A itself with the official SDK: protocol 1.0 and 0.3 on one port."""

import asyncio
import sys

import uvicorn
from a2a.server.agent_execution import AgentExecutor
from a2a.server.request_handlers import DefaultRequestHandler
from a2a.server.routes import create_agent_card_routes, create_jsonrpc_routes
from a2a.server.tasks import InMemoryTaskStore, TaskUpdater
from a2a.types import (
    AgentCapabilities,
    AgentCard,
    AgentInterface,
    AgentSkill,
    Part,
    Task,
    TaskState,
    TaskStatus,
)
from starlette.applications import Starlette

PORT, VERSION = int(sys.argv[1]), sys.argv[2]


class Echo(AgentExecutor):
    async def execute(self, context, event_queue):
        text = context.get_user_input()
        if context.current_task is None:
            status = TaskStatus(state=TaskState.TASK_STATE_SUBMITTED)
            task = Task(id=context.task_id, context_id=context.context_id, status=status)
            await event_queue.enqueue_event(task)
        updater = TaskUpdater(event_queue, context.task_id, context.context_id)
        if text == "ask":
            question = updater.new_agent_message([Part(text="What exactly?")])
            await updater.requires_input(question)
            return
        if text == "fail":
            await updater.failed(updater.new_agent_message([Part(text="I cannot.")]))
            return
        await updater.start_work()
        if text == "wait":
            sys.stdout.write("working\n")
            sys.stdout.flush()
            await asyncio.Event().wait()
        await updater.add_artifact(
            [Part(text="first ")], artifact_id="a", append=False, last_chunk=False
        )
        await updater.add_artifact(
            [Part(text="second")], artifact_id="a", append=True, last_chunk=True
        )
        await updater.complete(updater.new_agent_message([Part(text=f"echo: {text}")]))

    async def cancel(self, context, event_queue):
        sys.stdout.write("canceled\n")
        sys.stdout.flush()
        await TaskUpdater(event_queue, context.task_id, context.context_id).cancel()


card = AgentCard(
    name="echo",
    description="says it again",
    version="1.0.0",
    default_input_modes=["text/plain"],
    default_output_modes=["text/plain"],
    capabilities=AgentCapabilities(streaming=True),
    skills=[AgentSkill(id="say", name="Say", description="says it", tags=["echo"])],
    supported_interfaces=[
        AgentInterface(
            url=f"http://127.0.0.1:{PORT}/", protocol_binding="JSONRPC", protocol_version=VERSION
        )
    ],
)
handler = DefaultRequestHandler(
    agent_executor=Echo(), task_store=InMemoryTaskStore(), agent_card=card
)
routes = create_agent_card_routes(agent_card=card)
routes += create_jsonrpc_routes(request_handler=handler, rpc_url="/", enable_v0_3_compat=True)
uvicorn.run(Starlette(routes=routes), host="127.0.0.1", port=PORT, log_level="warning")
