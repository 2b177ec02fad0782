"""What a request handler costs by itself: no HTTP, no JSON, one caller, the official executor interface."""

import logging
import statistics
import time
from typing import Any, Final

import anyio
from a2a.helpers.proto_helpers import new_task_from_user_message, new_text_message
from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.context import ServerCallContext
from a2a.server.events import EventQueue
from a2a.server.request_handlers import DefaultRequestHandler
from a2a.server.tasks import InMemoryTaskStore, TaskUpdater
from a2a.types.a2a_pb2 import AgentCard, Message, Part, Role, SendMessageRequest

from hive_a2a.handler import FastRequestHandler, MemoryTaskStore

NAME: Final = "handler_rate"
SUMMARY: Final = (
    "Task replies a second that a request handler gives, nothing around it (details: messages)"
)
UNIT: Final = "replies/s"
CALLS: Final = 4_000
PEER_CALLS: Final = 400
ROUNDS: Final = 5


class MessageReply(AgentExecutor):
    """Answers with a message."""

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        """Say hello."""
        await event_queue.enqueue_event(new_text_message("hello"))

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        """Do nothing: it is over before anybody can."""


class TaskReply(MessageReply):
    """Answers with a task that has one artifact."""

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        """Work, hand over, complete."""
        if context.message is None:
            raise RuntimeError("no message")
        task = new_task_from_user_message(context.message)
        await event_queue.enqueue_event(task)
        updater = TaskUpdater(event_queue, task.id, task.context_id)
        await updater.start_work()
        await updater.add_artifact([Part(text="hello")])
        await updater.complete()


def run() -> dict[str, Any]:
    """Measure both in the same run; CPU in microseconds a reply."""
    logging.disable(logging.WARNING)
    return anyio.run(_measure, backend_options={"use_uvloop": True})


async def _measure() -> dict[str, Any]:
    card = AgentCard(name="bench")
    handlers: dict[str, FastRequestHandler | DefaultRequestHandler] = {
        "task": FastRequestHandler(TaskReply(), MemoryTaskStore(), card),
        "task_official_store": FastRequestHandler(TaskReply(), InMemoryTaskStore(), card),
        "message": FastRequestHandler(MessageReply(), MemoryTaskStore(), card),
        "peer_task": DefaultRequestHandler(TaskReply(), InMemoryTaskStore(), card),
        "peer_message": DefaultRequestHandler(MessageReply(), InMemoryTaskStore(), card),
    }
    rounds: dict[str, list[float]] = {name: [] for name in handlers}
    cpu: dict[str, list[float]] = {name: [] for name in handlers}
    for _ in range(ROUNDS):
        for name, handler in handlers.items():
            calls = PEER_CALLS if name.startswith("peer") else CALLS
            began, worked = time.perf_counter(), time.process_time()
            for number in range(calls):
                await handler.on_message_send(_message(number), ServerCallContext())
            rounds[name].append(calls / (time.perf_counter() - began))
            cpu[name].append((time.process_time() - worked) / calls * 1e6)
    for handler in handlers.values():
        await handler.aclose()
    rate = {name: statistics.median(rates) for name, rates in rounds.items()}
    return {
        "value": rate["task"],
        "peer": rate["peer_task"],
        "peer_is": "the official SDK's handler",
        "details": {
            "message_replies_per_s": rate["message"],
            "peer_message_replies_per_s": rate["peer_message"],
            "message_ratio": rate["message"] / rate["peer_message"],
            "official_store_replies_per_s": rate["task_official_store"],
            **{f"cpu_us_{name}": statistics.median(spent) for name, spent in cpu.items()},
        },
    }


def _message(number: int) -> SendMessageRequest:
    said = Message(message_id=f"m-{number}", role=Role.ROLE_USER, parts=[Part(text="hello")])
    return SendMessageRequest(message=said)
