"""The official package's own client, unmodified and in both eras, against the front."""

import anyio
import mcp_types as types
import pytest
from mcp import Client
from tests.conformance.serve_everything import everything_front

from hive.protocols.mcp.ports import ListChange

pytestmark = pytest.mark.anyio
MODES = ("auto", "legacy")


async def _answers(context: object, params: types.ElicitRequestParams) -> types.ElicitResult:
    del context, params
    return types.ElicitResult(action="accept", content={"name": "Ada", "username": "ada"})


@pytest.mark.parametrize(("mode", "revision"), [("auto", "2026-07-28"), ("legacy", "2025-11-25")])
async def test_a_client_of_either_era_uses_everything(mode: str, revision: str) -> None:
    steps: list[float] = []

    async def progress(done: float, total: float | None, message: str | None) -> None:
        del total, message
        steps.append(done)

    with anyio.fail_after(20):
        async with everything_front() as (url, _, _), Client(url, mode=mode) as client:
            assert client.protocol_version == revision
            tools = await client.list_tools()
            assert "test_simple_text" in [tool.name for tool in tools.tools]
            said = await client.call_tool("test_simple_text", {})
            assert said.content[0].text.startswith("This is a simple text")
            await client.call_tool("test_tool_with_progress", {}, progress_callback=progress)
            prompt = await client.get_prompt(
                "test_prompt_with_arguments", {"arg1": "a", "arg2": "b"}
            )
            assert "arg1='a'" in prompt.messages[0].content.text
            read = await client.read_resource("test://static-text")
            assert read.contents[0].text.startswith("This is the content")
    assert steps == [0, 50, 100]


async def test_an_older_client_is_asked_in_the_middle_of_a_call() -> None:
    with anyio.fail_after(20):
        async with (
            everything_front() as (url, _, _),
            Client(url, mode="legacy", elicitation_callback=_answers) as client,
        ):
            said = await client.call_tool("test_elicitation", {"message": "Who?"})
    assert "accept" in said.content[0].text


async def test_a_stateless_client_answers_in_rounds() -> None:
    with anyio.fail_after(20):
        async with (
            everything_front() as (url, _, _),
            Client(url, elicitation_callback=_answers) as client,
        ):
            said = await client.call_tool("test_input_required_result_elicitation", {})
    assert "Ada" in said.content[0].text


async def test_a_call_with_marked_arguments_carries_them_in_its_headers() -> None:
    with anyio.fail_after(20):
        async with everything_front() as (url, _, _), Client(url) as client:
            await client.list_tools()
            arguments = {"region": "Köln", "priority": 7, "verbose": True, "note": "x"}
            said = await client.call_tool("test_custom_headers", arguments)
    assert "Köln" in said.content[0].text


async def test_an_older_client_that_listens_hears_of_a_change() -> None:
    heard = anyio.Event()

    async def hear(message: object) -> None:
        if isinstance(message, types.ToolListChangedNotification):
            heard.set()

    with anyio.fail_after(20):
        async with (
            everything_front() as (url, _, service),
            Client(url, mode="legacy", message_handler=hear) as client,
        ):
            await client.list_tools()
            while not service.watching:
                await anyio.lowlevel.checkpoint()
            service.tell(ListChange(server="everything", kind="tools"))
            await heard.wait()
