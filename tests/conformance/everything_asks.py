"""Tools that need an answer of their client before they can answer: rounds of InputRequiredResult."""

import hashlib
import hmac
from collections.abc import Mapping
from typing import Final

from hive.core.json import Json
from hive.protocols.mcp.ports import NEWEST, Courier, McpError, McpObject

INVALID_PARAMS: Final = -32602
_PREFIX: Final = "test_input_required_result_"
_SEAL: Final = b"a key of this test alone"
_CAPABILITY: Final[Mapping[str, str]] = {
    "elicitation/create": "elicitation",
    "sampling/createMessage": "sampling",
    "roots/list": "roots",
}


def _form(message: str, name: str, kind: str = "string") -> Json:
    schema: Json = {"type": "object", "properties": {name: {"type": kind}}, "required": [name]}
    return {
        "method": "elicitation/create",
        "params": {"mode": "form", "message": message, "requestedSchema": schema},
    }


def _sample(question: str, tokens: int) -> Json:
    content: Json = {"type": "text", "text": question}
    return {
        "method": "sampling/createMessage",
        "params": {"messages": [{"role": "user", "content": content}], "maxTokens": tokens},
    }


_ROOTS: Final[Json] = {"method": "roots/list", "params": {}}
_ROUNDS: Final[Mapping[str, tuple[McpObject, ...]]] = {
    "elicitation": ({"user_name": _form("What is your name?", "name")},),
    "sampling": ({"capital_question": _sample("What is the capital of France?", 100)},),
    "list_roots": ({"client_roots": _ROOTS},),
    "request_state": ({"confirm": _form("Please confirm", "ok", "boolean")},),
    "tampered_state": ({"confirm": _form("Please confirm", "ok", "boolean")},),
    "multiple_inputs": (
        {
            "user_name": _form("What is your name?", "name"),
            "greeting": _sample("Generate a greeting", 50),
            "client_roots": _ROOTS,
        },
    ),
    "multi_round": (
        {"step1": _form("Step 1: What is your name?", "name")},
        {"step2": _form("Step 2: What is your favorite color?", "color")},
    ),
    "capabilities": (
        {
            "name": _form("What is your name?", "name"),
            "greeting": _sample("Generate a greeting", 50),
        },
    ),
    "prompt": ({"user_context": _form("What context should the prompt use?", "context")},),
}
ASKING: Final = tuple(_PREFIX + name for name in _ROUNDS if name != "prompt")
_STATEFUL: Final = ("request_state", "tampered_state", "multiple_inputs", "multi_round")


def asking_tool(name: str, params: McpObject, courier: Courier) -> McpObject:
    """Answer a call: ask what is missing, or say what was answered."""
    asked, answers = _next_round(name.removeprefix(_PREFIX), params, courier)
    if asked is not None:
        return asked
    return {"content": [{"type": "text", "text": f"state-ok: Hello! {answers}"}]}


def asking_prompt(params: McpObject, courier: Courier) -> McpObject | None:
    """Answer for the prompt that asks; None for every other."""
    if params.get("name") != _PREFIX + "prompt":
        return None
    asked, answers = _next_round("prompt", params, courier)
    if asked is not None:
        return asked
    content: Json = {"type": "text", "text": f"With {answers}"}
    return {"messages": [{"role": "user", "content": content}]}


def _next_round(
    name: str, params: McpObject, courier: Courier
) -> tuple[McpObject | None, McpObject]:
    if courier.revision < NEWEST:
        raise McpError(INVALID_PARAMS, "Only for clients of the stateless revision.")
    rounds, number = _ROUNDS[name], 0
    if name in _STATEFUL and "requestState" in params:
        number = _unsealed(name, params["requestState"])
    answers = params.get("inputResponses", {})
    if not isinstance(answers, dict):
        raise McpError(INVALID_PARAMS, "inputResponses is no object")
    wanted = {
        key: one
        for key, one in rounds[number].items()
        if isinstance(one, dict) and (_CAPABILITY[str(one["method"])] in courier.client)
    }
    if not all(isinstance(answers.get(key), dict) for key in wanted) or not wanted:
        return _required(name, wanted, number), {}
    if number + 1 < len(rounds):
        return _required(name, rounds[number + 1], number + 1), {}
    return None, answers


def _required(name: str, wanted: McpObject, number: int) -> McpObject:
    asked: McpObject = {"resultType": "input_required", "inputRequests": wanted}
    if name in _STATEFUL:
        asked["requestState"] = f"{number}.{_seal(name, number)}"
    return asked


def _unsealed(name: str, state: Json) -> int:
    number, _, seal = str(state).partition(".")
    if not number.isdigit() or not hmac.compare_digest(seal, _seal(name, int(number))):
        raise McpError(INVALID_PARAMS, "requestState was tampered with")
    return int(number)


def _seal(name: str, number: int) -> str:
    return hmac.new(_SEAL, f"{name} {number}".encode(), hashlib.sha256).hexdigest()
