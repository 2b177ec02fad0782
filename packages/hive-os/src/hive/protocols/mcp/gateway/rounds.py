"""A request to a server that may ask back by its result, for clients that cannot read such a result."""

from hive.protocols.mcp.gateway.couriers import ROUNDS_MAX, answered_by_asking
from hive.protocols.mcp.gateway.deeds import ServerRequest
from hive.protocols.mcp.gateway.results import INPUT_REQUIRED, INTERNAL
from hive.protocols.mcp.ports import NEWEST, Courier, McpError, McpObject, ServerLink


async def exchanged(
    link: ServerLink, request: ServerRequest, meta: McpObject, ear: Courier
) -> McpObject:
    """Ask a server; where it asks back by its result and the client cannot read that, ask the client.

    Raises:
        McpError: the server answered so, or asks without an end.

    """
    params: McpObject = {**request.params, "_meta": meta}
    for _ in range(ROUNDS_MAX):
        result = await link.request(
            request.method, params, timeout_s=request.timeout_s, courier=ear
        )
        if result.get("resultType") != INPUT_REQUIRED or ear.revision >= NEWEST:
            return result
        params["inputResponses"] = await answered_by_asking(result, ear)
        params.pop("requestState", None)
        if "requestState" in result:
            params["requestState"] = result["requestState"]
    raise McpError(INTERNAL, "The tool server asks without an end.")
