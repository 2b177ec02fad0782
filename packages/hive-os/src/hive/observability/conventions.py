"""Names of spans and attributes: OpenTelemetry's conventions for generative AI, and our own under `hive.`.

Those conventions still move, so they stand here once, as they were in November 2026, and nothing is
imported from packages that mark theirs as experimental. Message content is never an attribute.
"""

from collections.abc import Mapping
from typing import Final

from hive.core.json import Json

SCHEMA_DATE: Final = "2026-11"

INVOKE_AGENT: Final = "invoke_agent"
EXECUTE_TOOL: Final = "execute_tool"
CREATE_AGENT: Final = "create_agent"
CHAT: Final = "chat"
RETRIEVAL: Final = "retrieval"

OPERATION: Final = "gen_ai.operation.name"
PROVIDER: Final = "gen_ai.provider.name"
AGENT_ID: Final = "gen_ai.agent.id"
AGENT_NAME: Final = "gen_ai.agent.name"
AGENT_VERSION: Final = "gen_ai.agent.version"
CONVERSATION_ID: Final = "gen_ai.conversation.id"
TOOL_NAME: Final = "gen_ai.tool.name"
TOOL_TYPE: Final = "gen_ai.tool.type"
TOOL_CALL_ID: Final = "gen_ai.tool.call.id"
REQUEST_MODEL: Final = "gen_ai.request.model"
RESPONSE_MODEL: Final = "gen_ai.response.model"
INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"

A2A_METHOD: Final = "a2a.method.name"
A2A_TASK_ID: Final = "a2a.task.id"
A2A_TASK_STATE: Final = "a2a.task.state"
A2A_MESSAGE_ID: Final = "a2a.message.id"
A2A_VERSION: Final = "a2a.protocol.version"

MCP_METHOD: Final = "mcp.method.name"
MCP_SESSION: Final = "mcp.session.id"
ERROR_TYPE: Final = "error.type"
SERVER_ADDRESS: Final = "server.address"

CALL_ID: Final = "hive.call.id"
VERB: Final = "hive.call.verb"
TARGET: Final = "hive.call.target"
PRINCIPAL: Final = "hive.principal"
OWNER: Final = "hive.owner"
NODE: Final = "hive.node"
SANDBOX: Final = "hive.sandbox"
TIER: Final = "hive.tier"
CHECK: Final = "hive.check"
REFUSED: Final = "hive.refused"
TURN: Final = "hive.turn"
LINK_KIND: Final = "hive.link.kind"
SPAN_SOURCE: Final = "hive.span.source"
FROM_AGENT: Final = "agent"

_OPERATIONS: Final = {
    "send": INVOKE_AGENT,
    "invoke": EXECUTE_TOOL,
    "ask": CHAT,
    "recall": RETRIEVAL,
    "spawn": CREATE_AGENT,
}


def call_attributes(
    verb: str, target: str, call: str, facts: Mapping[str, Json]
) -> dict[str, Json]:
    """Return the attributes of the span of a call; of a tool's also what MCP's conventions want."""
    found: dict[str, Json] = {CALL_ID: call, VERB: verb, TARGET: target}
    if verb in _OPERATIONS:
        found[OPERATION] = _OPERATIONS[verb]
    if verb == "invoke":
        found |= {MCP_METHOD: facts.get("method") or "tools/call"}
        found |= {TOOL_NAME: facts["tool"], TOOL_CALL_ID: call} if "tool" in facts else {}
    elif verb == "ask":
        found[REQUEST_MODEL] = target
    return found


def span_name(verb: str, target: str) -> str:
    """Return the name of the span of a call, for example `invoke_agent planner`."""
    return f"{_OPERATIONS.get(verb, verb)} {target}"
