"""Tools that begin long work (the extension `io.modelcontextprotocol/tasks`)."""

from typing import Final

import anyio
from tests.conformance.everything_asks import asking_tool

from hive.core.json import Json
from hive.protocols.mcp.ports import Courier, McpError, McpObject, Visitor
from hive.protocols.mcp.serving.running import RunningTasks, Work, WorkHand
from hive.protocols.mcp.serving.tasks import declared, handle, require

TASK_TOOLS: Final = (
    "greet",
    "slow_compute",
    "failing_job",
    "protocol_error_job",
    "confirm_delete",
    "multi_input",
    "test_tool_with_task",
)
_REQUIRED: Final = ("failing_job", "test_tool_with_task")


async def task_tool(
    tasks: RunningTasks, visitor: Visitor, name: str, params: McpObject, courier: Courier
) -> McpObject:
    """Answer a call at once, or with a handle."""
    arguments = params.get("arguments")
    given = arguments if isinstance(arguments, dict) else {}
    if name == "greet":
        return _text(f"Hello, {given.get('name')}!")
    if name in _REQUIRED:
        require(courier)
    if name == "test_tool_with_task":
        first = asking_tool("test_input_required_result_elicitation", params, courier)
        if first.get("resultType") == "input_required":
            return first
    work = _work(name, given, params)
    if not declared(courier):
        return await work(WorkHand(lambda: None))
    return handle(tasks.start(visitor, work))


def _work(name: str, given: McpObject, params: McpObject) -> Work:
    async def act(hand: WorkHand) -> McpObject:
        match name:
            case "slow_compute":
                seconds = given.get("seconds", 0)
                await anyio.sleep(float(seconds) if isinstance(seconds, int | float) else 0)
                return _text("Computed.")
            case "failing_job":
                await anyio.sleep(0.5)
                return {**_text("The job failed."), "isError": True}
            case "protocol_error_job":
                raise McpError(-32603, "The job broke.")
            case "confirm_delete":
                answers = await hand.ask(_confirm("Delete it?"))
            case "multi_input":
                answers = await hand.ask(_confirm("First?"), _confirm("Second?"))
            case _:
                return _text(f"Hello, {params.get('inputResponses')}")
        return _text(f"Answered: {answers}")

    return act


def _confirm(message: str) -> McpObject:
    schema: Json = {"type": "object", "properties": {"confirm": {"type": "boolean"}}}
    return {
        "method": "elicitation/create",
        "params": {"mode": "form", "message": message, "requestedSchema": schema},
    }


def _text(said: str) -> McpObject:
    return {"content": [{"type": "text", "text": said}]}
