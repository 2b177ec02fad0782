"""The hub as a client under test: `hub_client.py URL`; the scenario stands in the environment. Run by the suites."""

import json
import os
import sys
from contextlib import AsyncExitStack

import anyio
from tests.mcp_hub_rig import ALICE, SomeCourier, hub_with

from hive.protocols.mcp.ports import McpError, ServerSpec, TransportKind

ECHO, RICH = "json_schema_echo", "json_schema_2020_12_tool"
CAPABILITIES = {"elicitation": {"form": {"applyDefaults": True}}}


class WillingCourier(SomeCourier):
    """A client that answers each question of the suite with its defaults."""

    async def ask(self, method, params):
        fields = params.get("requestedSchema", {}).get("properties", {})
        content = {name: one["default"] for name, one in fields.items() if "default" in one}
        return {"action": "accept", "content": content}


def made_up(schema):
    """Return arguments that fit a schema well enough."""
    usual = {
        "number": 1,
        "integer": 1,
        "string": "text",
        "boolean": True,
        "object": {},
        "array": [],
    }
    fields = schema.get("properties", {})
    return {name: usual.get(one.get("type")) for name, one in fields.items()}


async def main(url):
    context = json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT", "{}"))  # noqa: TID251  told by the suite
    calls = context.get("toolCalls") or []
    spec = ServerSpec(name="suite", transport=TransportKind.HTTP, url=url)
    courier = WillingCourier(CAPABILITIES)
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(hub_with(spec))
        try:
            await hub.refresh("suite")
        except McpError as error:
            sys.stderr.write(f"{error}\n")
        link = await stack.enter_async_context(hub.link("suite", ALICE, courier=courier))
        for tool in hub.tools():
            name = tool.definition.name
            wanted = [one.get("arguments", {}) for one in calls if one.get("name") == name]
            if name == ECHO:
                # The suite compares the schema that it gave to another tool with what comes back.
                shown = hub.tool(f"suite.{RICH}").definition.raw["inputSchema"]
                wanted = [{"schema": shown}]
            for arguments in wanted or [made_up(tool.definition.raw["inputSchema"])]:
                await called(link, courier, {"name": name, "arguments": arguments})


async def called(link, courier, params):
    """Call, and answer what the server needs to know until it has all."""
    said = dict(params)
    for _ in range(10):
        try:
            result = await link.request("tools/call", said, timeout_s=20, courier=courier)
        except McpError as error:
            sys.stderr.write(f"{error}\n")
            return
        if result.get("resultType") != "input_required":
            return
        answers = {
            key: await courier.ask(one["method"], one["params"])
            for key, one in (result.get("inputRequests") or {}).items()
        }
        said = {**params, "inputResponses": answers}
        if "requestState" in result:
            said["requestState"] = result["requestState"]


if __name__ == "__main__":
    anyio.run(main, sys.argv[-1])
