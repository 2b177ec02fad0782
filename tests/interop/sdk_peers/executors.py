"""Executors in every style that the official samples and tests show, written against the official SDK alone.

Each one runs unchanged behind the official server and behind `SecureA2AServer`.
"""

import uuid

import anyio
from a2a.helpers.proto_helpers import (
    get_message_text,
    new_task_from_user_message,
    new_text_artifact_update_event,
    new_text_message,
    new_text_part,
    new_text_status_update_event,
)
from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.events import EventQueue
from a2a.server.tasks import TaskUpdater
from a2a.types import a2a_pb2 as pb
from a2a.utils.errors import InternalError, InvalidParamsError, UnsupportedOperationError
from google.protobuf.json_format import ParseDict
from google.protobuf.struct_pb2 import Value


async def begun(context: RequestContext, event_queue: EventQueue) -> TaskUpdater:
    """Announce the task where it is new, as every task-keeping sample does."""
    if context.current_task is None:
        await event_queue.enqueue_event(new_task_from_user_message(context.message))
    return TaskUpdater(event_queue, context.task_id, context.context_id)


class Cancelable(AgentExecutor):
    async def cancel(self, context, event_queue):
        await TaskUpdater(event_queue, context.task_id, context.context_id).cancel()


class Greeter(AgentExecutor):
    """Answers with a message alone, and cannot be cancelled."""

    async def execute(self, context, event_queue):
        await event_queue.enqueue_event(new_text_message("Hello World"))

    async def cancel(self, context, event_queue):
        raise NotImplementedError("Cancel is not supported.")


class Worker(Cancelable):
    """Status with words, an artifact, and a last word: the hello-world sample."""

    async def execute(self, context, event_queue):
        updater = await begun(context, event_queue)
        await updater.update_status(
            pb.TASK_STATE_WORKING, message=new_text_message("Processing request...")
        )
        said = get_message_text(context.message)
        await updater.add_artifact(
            [new_text_part(text=f"heard {said}", media_type="text/plain")], artifact_id="answer"
        )
        await updater.update_status(
            pb.TASK_STATE_COMPLETED, message=new_text_message("Request is completed!")
        )


class Converter(AgentExecutor):
    """Raw events, a question in between, and errors of the SDK: the currency sample."""

    async def execute(self, context, event_queue):
        said = context.get_user_input()
        if said == "nonsense":
            raise InvalidParamsError
        task = context.current_task or new_task_from_user_message(context.message)
        await event_queue.enqueue_event(task)
        ids = {"task_id": task.id, "context_id": task.context_id}
        try:
            await event_queue.enqueue_event(
                new_text_status_update_event(
                    **ids, state=pb.TASK_STATE_WORKING, text="Looking up the rates..."
                )
            )
            if said == "how much?":
                asked = new_text_status_update_event(
                    **ids, state=pb.TASK_STATE_INPUT_REQUIRED, text="Into which currency?"
                )
                await event_queue.enqueue_event(asked)
                return
            if said == "crash":
                raise ValueError("no rates")  # noqa: TRY301 - as the sample does
            await event_queue.enqueue_event(
                new_text_artifact_update_event(**ids, name="conversion_result", text=f"3 {said}")
            )
            await event_queue.enqueue_event(
                new_text_status_update_event(**ids, state=pb.TASK_STATE_COMPLETED, text="")
            )
        except ValueError as error:
            raise InternalError from error

    async def cancel(self, context, event_queue):
        raise UnsupportedOperationError


class Streamer(Cancelable):
    """An artifact in pieces, then another one."""

    async def execute(self, context, event_queue):
        updater = await begun(context, event_queue)
        await updater.start_work()
        for number in range(4):
            await updater.add_artifact(
                [pb.Part(text=f"{number} ")],
                artifact_id="count",
                name="count",
                append=number > 0,
                last_chunk=number == 3,
            )
        await updater.add_artifact([pb.Part(text="done")], artifact_id="end")
        await updater.complete(updater.new_agent_message([pb.Part(text="counted")]))


class AllParts(Cancelable):
    """Every kind of part, with metadata and extensions, in one task event that is complete at once."""

    async def execute(self, context, event_queue):
        task = new_task_from_user_message(context.message)
        task.status.state = pb.TASK_STATE_COMPLETED
        artifact = task.artifacts.add(
            artifact_id="all", name="all", extensions=["urn:example:parts"]
        )
        artifact.metadata.update({"deep": {"list": [1, 2.5, "three", None, True]}})
        artifact.parts.add(text="grüße ✓", media_type="text/markdown", filename="a.md")
        artifact.parts.add(raw=bytes(range(256)), media_type="application/octet-stream")
        artifact.parts.add(url="https://example.com/a?b=c&d", media_type="image/png")
        nested = ParseDict({"key": "value", "count": 42, "none": None, "list": [[], {}]}, Value())
        artifact.parts.add(data=nested).metadata.update({"of": "part"})
        task.metadata.update({"of": "task"})
        await event_queue.enqueue_event(task)


class Asker(Cancelable):
    """Asks twice and remembers what was said in the history."""

    async def execute(self, context, event_queue):
        updater = await begun(context, event_queue)
        said = context.get_user_input()
        if said.startswith("done"):
            task = context.current_task
            words = [get_message_text(one) for one in task.history if one.role == pb.ROLE_USER]
            await updater.complete(updater.new_agent_message([pb.Part(text=" | ".join(words))]))
            return
        await updater.start_work()
        await updater.requires_input(updater.new_agent_message([pb.Part(text="more?")]))


class Guarded(Cancelable):
    """Wants to be authorized before it goes on."""

    async def execute(self, context, event_queue):
        updater = await begun(context, event_queue)
        if context.get_user_input() == "here is my token":
            await updater.complete()
            return
        await updater.requires_auth(updater.new_agent_message([pb.Part(text="log in first")]))


class Patient(AgentExecutor):
    """Works until it is cancelled, and keeps the cancelled turn waiting until that is said."""

    def __init__(self):
        self.stopped = {}

    async def execute(self, context, event_queue):
        updater = await begun(context, event_queue)
        stopped = self.stopped.setdefault(context.task_id, anyio.Event())
        await updater.start_work(updater.new_agent_message([pb.Part(text="long work")]))
        await stopped.wait()

    async def cancel(self, context, event_queue):
        updater = TaskUpdater(event_queue, context.task_id, context.context_id)
        await updater.cancel(updater.new_agent_message([pb.Part(text="stopped")]))
        self.stopped.setdefault(context.task_id, anyio.Event()).set()


class Ending(Cancelable):
    """Ends as it is told to."""

    async def execute(self, context, event_queue):
        said = context.get_user_input()
        if said == "raise before":
            raise RuntimeError("the agent broke")
        updater = await begun(context, event_queue)
        if said == "raise after":
            await updater.start_work()
            raise RuntimeError("the agent broke")
        ways = {
            "fail": updater.failed,
            "reject": updater.reject,
            "submit": updater.submit,
            "complete": updater.complete,
        }
        if said == "submit":
            await updater.submit()
            said = "complete"
        await ways[said](updater.new_agent_message([pb.Part(text=said)]))


class Peeking(Cancelable):
    """Tells what it sees of the request: ids, references, metadata, configuration."""

    async def execute(self, context, event_queue):
        updater = await begun(context, event_queue)
        seen = {
            "input": context.get_user_input(),
            "metadata": dict(context.metadata),
            "has task": context.current_task is not None,
            "same ids": context.message.task_id == context.task_id
            and context.message.context_id == context.context_id,
            "modes": list(context.configuration.accepted_output_modes),
        }
        part = pb.Part(data=ParseDict(seen, Value()))
        await updater.add_artifact([part], artifact_id="seen")
        await updater.complete()


class Everything(AgentExecutor):
    """One agent for clients of other languages: the first word says which of the others answers.

    A later turn of a task belongs to whoever took its first one.
    """

    def __init__(self):
        self.agents = {
            "greet": Greeter(),
            "work": Worker(),
            "count": Streamer(),
            "parts": AllParts(),
            "ask": Asker(),
            "login": Guarded(),
            "wait": Patient(),
            "end": Ending(),
        }
        self.of_task = {}

    async def execute(self, context, event_queue):
        word = context.get_user_input().partition(" ")[0]
        agent = self.of_task.setdefault(context.task_id, self.agents.get(word, self.agents["work"]))
        await agent.execute(context, event_queue)

    async def cancel(self, context, event_queue):
        await self.of_task[context.task_id].cancel(context, event_queue)


def saying(text, *, task=None, context="", **more):
    """Return a request to send a message."""
    message = pb.Message(
        message_id=uuid.uuid4().hex, role=pb.ROLE_USER, parts=[pb.Part(text=text)], **more
    )
    if task is not None:
        message.task_id, message.context_id = task.id, task.context_id
    if context:
        message.context_id = context
    return pb.SendMessageRequest(message=message)
