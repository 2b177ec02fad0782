"""A task of an agent in the words of MCP: its answer as a result, its question as an elicitation."""

import base64
from collections.abc import Iterator
from typing import Final

from hive.core.json import Json, encode
from hive.core.task import ArtifactAdded, Message, Part, StatusChanged, Task, TaskEvent, TaskState
from hive.protocols.mcp.ports import McpObject
from hive.protocols.mcp.serving.tasks import LongTask, WorkState

PROGRESS_MAX_CHARS: Final = 4000
PROPERTIES_MAX: Final = 32
_STATES: Final = {
    TaskState.SUBMITTED: WorkState.WORKING,
    TaskState.WORKING: WorkState.WORKING,
    TaskState.INPUT_REQUIRED: WorkState.INPUT_REQUIRED,
    # Its operator decides, not its client.
    TaskState.AUTH_REQUIRED: WorkState.WORKING,
    TaskState.COMPLETED: WorkState.COMPLETED,
    # An agent that failed is a tool that says so; `failed` is for errors of the protocol.
    TaskState.FAILED: WorkState.COMPLETED,
    TaskState.REJECTED: WorkState.COMPLETED,
    TaskState.CANCELED: WorkState.CANCELLED,
}
_WAITS: Final = {
    TaskState.INPUT_REQUIRED: "(The agent waits for an answer: call again with this task_id.)",
    TaskState.AUTH_REQUIRED: "(The task waits for its operator.)",
    TaskState.SUBMITTED: "(The agent is at work: ask `get_task` with this task_id later.)",
    TaskState.WORKING: "(The agent is at work: ask `get_task` with this task_id later.)",
    TaskState.CANCELED: "(The task was canceled.)",
}


def result_of(task: Task) -> McpObject:
    """Write a task as the result of a call."""
    parts = list(_parts(task))
    content: list[Json] = [_block(task, number, part) for number, part in enumerate(parts)]
    note = _WAITS.get(task.state)
    if note is not None:
        content.append(_text(f"{note} task_id: {task.id}"))
    structured: McpObject = {
        "task_id": task.id,
        "context_id": task.context_id,
        "state": task.state.value,
    }
    data: list[Json] = [part.data for part in parts if part.has_data]
    if data:
        structured["data"] = data
    result: McpObject = {"content": content, "structuredContent": structured}
    if task.state in (TaskState.FAILED, TaskState.REJECTED, TaskState.CANCELED):
        result["isError"] = True
        if not content:
            result["content"] = [_text(f"The task is {task.state.value}.")]
    return result


def refusal(text: str) -> McpObject:
    """Write a result that says why nothing was done."""
    return {"content": [_text(text)], "isError": True}


def work_of(task: Task) -> LongTask:
    """Show a task as long work."""
    state = _STATES[task.state]
    said = task.status_message.text if task.status_message is not None else ""
    if task.state is TaskState.AUTH_REQUIRED:
        said = said or "It waits for its operator."
    questions = {question_key(task): question_of(task)} if awaits_answer(task) else {}
    return LongTask(
        id=task.id,
        state=state,
        created_at=task.created_at,
        changed_at=task.updated_at,
        said=said[:PROGRESS_MAX_CHARS],
        result=result_of(task) if state is WorkState.COMPLETED else None,
        questions=questions,
    )


def awaits_answer(task: Task) -> bool:
    """Tell whether a task waits for its client."""
    return task.state is TaskState.INPUT_REQUIRED


def question_key(task: Task) -> str:
    """Return the key of the question that a task waits with; every question has its own."""
    said = task.status_message
    return f"input-{said.id if said is not None else len(task.history)}"


def question_of(task: Task) -> McpObject:
    """Write what a task asks as an elicitation.

    Where the question carries data with a flat `requestedSchema`, that is what is asked for; else one
    line of text.
    """
    said = task.status_message
    text = said.text if said is not None else ""
    return {
        "method": "elicitation/create",
        "params": {
            "mode": "form",
            "message": text or "The agent asks for more input.",
            "requestedSchema": _asked_schema(said) or _one_line(),
        },
    }


def answer_parts(task: Task, content: McpObject) -> tuple[Part, ...]:
    """Return what goes to the agent as the answer to its question."""
    if _asked_schema(task.status_message) is not None:
        return (Part(data=content, has_data=True, media_type="application/json"),)
    text = content.get("message")
    return (Part(text=text if isinstance(text, str) else encode(content).decode()),)


def progress_text(event: TaskEvent) -> str:
    """Return what an event of a task says to somebody who waits."""
    if isinstance(event, ArtifactAdded):
        said = "".join(part.text for part in event.artifact.parts if part.text is not None)
    elif isinstance(event, StatusChanged) and not event.state.terminal:
        said = event.message.text if event.message is not None else event.state.value
    else:
        said = ""
    return said[:PROGRESS_MAX_CHARS]


def _parts(task: Task) -> Iterator[Part]:
    made = [part for artifact in task.artifacts for part in artifact.parts]
    yield from made
    said = task.status_message
    if said is not None and (not made or task.state is not TaskState.COMPLETED):
        yield from said.parts


def _block(task: Task, number: int, part: Part) -> Json:
    if part.text is not None:
        return _text(part.text)
    if part.has_data:
        return _text(encode(part.data).decode())
    name = part.filename or f"part-{number}"
    if part.url is not None:
        link: McpObject = {"type": "resource_link", "uri": part.url, "name": name}
        return link | ({"mimeType": part.media_type} if part.media_type else {})
    raw = base64.b64encode(part.raw or b"").decode("ascii")
    kind = part.media_type.partition("/")[0]
    if kind in ("image", "audio"):
        return {"type": kind, "data": raw, "mimeType": part.media_type}
    media = part.media_type or "application/octet-stream"
    uri = f"hive://tasks/{task.id}/parts/{number}"
    return {"type": "resource", "resource": {"uri": uri, "mimeType": media, "blob": raw}}


def _text(text: str) -> Json:
    return {"type": "text", "text": text}


def _one_line() -> McpObject:
    answer: Json = {"type": "string", "title": "Answer", "description": "Your answer to the agent."}
    return {"type": "object", "properties": {"message": answer}, "required": ["message"]}


def _asked_schema(said: Message | None) -> McpObject | None:
    """Return the schema that a question carries, if a client could show a form for it."""
    for part in said.parts if said is not None else ():
        schema = part.data.get("requestedSchema") if isinstance(part.data, dict) else None
        if isinstance(schema, dict) and _is_flat(schema):
            return schema
    return None


def _is_flat(schema: McpObject) -> bool:
    fields = schema.get("properties")
    if schema.get("type") != "object" or not isinstance(fields, dict):
        return False
    kinds = ("string", "number", "integer", "boolean", "array")
    return 0 < len(fields) <= PROPERTIES_MAX and all(
        isinstance(one, dict) and one.get("type") in kinds for one in fields.values()
    )
