"""Asks other agents through the node's A2A door; the node decides whether this agent may."""

from __future__ import annotations

import os
import re

from hive_guest.a2a_wire import A2AEndpoint, Event, WireError, get_json
from hive_guest.api import AgentCallError, gate_address, turn
from hive_guest.parts import text_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from hive_guest.a2a_wire import Address

AGENT_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
AGENTS_PATH: Final = "/a2a"
TIMEOUT_S: Final = 300.0
SHORT_TIMEOUT_S: Final = 30.0


def ask(agent: str, text: str, timeout_s: float | None) -> str:
    """Send a text to another agent and return the text of its answer.

    Raises:
        AgentCallError: the agent could not be asked, refused, failed, or asks something itself.

    """
    return ask_at(gate_address(), _headers(), agent, text, timeout_s or _left())


def ask_at(gate: Address, headers: dict[str, str], agent: str, text: str, timeout_s: float) -> str:
    """Send a text to another agent through a gate and return the text of its answer.

    Raises:
        AgentCallError: the agent could not be asked, refused, failed, or asks something itself.

    """
    if not AGENT_NAME.fullmatch(agent):
        message = f"{agent!r} is not the name of an agent"
        raise AgentCallError(message)
    endpoint = A2AEndpoint(gate, f"{AGENTS_PATH}/{agent}", "1.0", headers)
    message_id = os.urandom(16).hex()
    said = {"messageId": message_id, "role": "ROLE_USER", "parts": [{"text": text}]}
    try:
        answer = endpoint.send(said, timeout_s=timeout_s)
    except WireError as error:
        message = f"{agent} could not be asked: {error}"
        raise AgentCallError(message) from error
    return _text(agent, answer)


def known() -> list[dict[str, Any]]:
    """Return the cards of the agents that may be asked.

    Raises:
        AgentCallError: the node did not answer.

    """
    try:
        found = get_json(gate_address(), AGENTS_PATH, _headers(), timeout_s=SHORT_TIMEOUT_S)
    except WireError as error:
        message = f"the node did not tell its agents: {error}"
        raise AgentCallError(message) from error
    cards = found.get("agents") if isinstance(found, dict) else found
    return [card for card in cards or () if isinstance(card, dict)]


def _headers() -> dict[str, str]:
    headers = {"authorization": f"Bearer {os.environ.get('HIVE_HANDLE', '')}"}
    try:
        traceparent = turn().traceparent
    except RuntimeError:
        return headers
    return {**headers, "traceparent": traceparent} if traceparent else headers


def _left() -> float:
    try:
        return turn().timeout_s
    except RuntimeError:
        return TIMEOUT_S


def _text(agent: str, answer: Event) -> str:
    said = text_of(answer.said or {})
    if answer.kind == "message":
        return said
    if answer.state not in ("COMPLETED", ""):
        message = f"{agent} is {answer.state.lower()}: {said or 'it says no more'}"
        raise AgentCallError(message)
    made = [text_of(one) for one in answer.value.get("artifacts") or () if isinstance(one, dict)]
    return "\n".join(text for text in made if text) or said
