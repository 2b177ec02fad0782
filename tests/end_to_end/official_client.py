"""The official SDK's client against a running node, as a program that knows nothing of Hive would use it."""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
import httpx
from a2a.client import Client, ClientConfig, create_client
from a2a.types import Artifact, Message, Part, Role, SendMessageRequest, TaskState

from hive.testing.node_process import NodeProcess

ANSWER_TIMEOUT_S = 60


@dataclass
class Told:
    """What one message brought: the pieces of the answer, its artifacts, and how the task stands."""

    task_id: str = ""
    context_id: str = ""
    state: int = TaskState.TASK_STATE_UNSPECIFIED
    said: str = ""
    pieces: list[str] = field(default_factory=list)
    artifacts: dict[str, Artifact] = field(default_factory=dict)

    @property
    def answer(self) -> str:
        """Return the text of the artifact that is the answer."""
        return "".join(
            part.text
            for artifact in self.artifacts.values()
            if artifact.name == "answer"
            for part in artifact.parts
        )

    @property
    def completed(self) -> bool:
        return self.state == TaskState.TASK_STATE_COMPLETED

    @property
    def asks(self) -> bool:
        return self.state == TaskState.TASK_STATE_INPUT_REQUIRED


@asynccontextmanager
async def official_client(
    node: NodeProcess, agent: str, *, streaming: bool = True
) -> AsyncIterator[Client]:
    """Connect by the agent's card."""
    headers = {"Authorization": f"Bearer {node.token()}"}
    async with httpx.AsyncClient(headers=headers, timeout=ANSWER_TIMEOUT_S) as http:
        config = ClientConfig(httpx_client=http, streaming=streaming)
        yield await create_client(f"{node.url}/a2a/{agent}", client_config=config)


async def tell(client: Client, text: str, *, after: Told | None = None) -> Told:
    """Say something, in the conversation (and to the open question) of what was told before."""
    message = Message(
        message_id=str(uuid.uuid4()),
        role=Role.ROLE_USER,
        parts=[Part(text=text)],
        context_id=after.context_id if after else "",
        task_id=after.task_id if after and after.asks else "",
    )
    told = Told()
    with anyio.fail_after(ANSWER_TIMEOUT_S):
        async for event in client.send_message(SendMessageRequest(message=message)):
            _take(told, event)
    return told


def _take(told: Told, event) -> None:
    match event.WhichOneof("payload"):
        case "task":
            told.task_id, told.context_id = event.task.id, event.task.context_id
            _status(told, event.task.status)
            told.artifacts |= {made.artifact_id: made for made in event.task.artifacts}
        case "status_update":
            _status(told, event.status_update.status)
        case "artifact_update":
            update = event.artifact_update
            held = told.artifacts.get(update.artifact.artifact_id)
            if held is not None and update.append:
                held.parts.extend(update.artifact.parts)
            else:
                told.artifacts[update.artifact.artifact_id] = update.artifact
            told.pieces += [part.text for part in update.artifact.parts if part.text]


def _status(told: Told, status) -> None:
    told.state = status.state
    told.said = "".join(part.text for part in status.message.parts)
