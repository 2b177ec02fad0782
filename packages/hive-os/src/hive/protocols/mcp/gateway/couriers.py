"""What a server may say and ask while it works on a call: bounded, and only what its client understands."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from hive.core.json import Json, encode
from hive.protocols.mcp.ports import NEWEST, Courier, McpError, McpObject

ASKABLE: Final = {
    "elicitation/create": "elicitation",
    "sampling/createMessage": "sampling",
    "roots/list": "roots",
}
LOG_LEVEL_KEY: Final = "io.modelcontextprotocol/logLevel"
NOTES_MAX: Final = 2000
NOTES_MAX_BYTES: Final = 4 << 20
QUESTIONS_MAX: Final = 32
QUESTION_MAX_BYTES: Final = 256 << 10
ROUNDS_MAX: Final = 8
QUESTION_WAIT_S: Final = 300.0
LEVELS: Final = frozenset(
    {"debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"}
)
METHOD_NOT_FOUND: Final = -32601
INVALID_REQUEST: Final = -32600


def askable(courier: Courier) -> dict[str, Json]:
    """Return what a client can be asked for; nothing else of it is told to servers."""
    return {key: courier.client[key] for key in ASKABLE.values() if key in courier.client}


def level_of(courier: Courier) -> str:
    """Return from which level on a client hears log lines, empty where it hears none or has not said."""
    level = getattr(courier, "level", "")
    return level if isinstance(level, str) and level in LEVELS else ""


@dataclass(slots=True)
class CallBounds:
    """How much a server has said and asked during one call."""

    notes: int = 0
    notes_bytes: int = 0
    questions: int = 0

    def note(self, params: McpObject) -> bool:
        """Count a notification; False where it is one too many and is dropped."""
        self.notes += 1
        if self.notes > NOTES_MAX or self.notes_bytes > NOTES_MAX_BYTES:
            return False
        self.notes_bytes += len(encode(params))
        return self.notes_bytes <= NOTES_MAX_BYTES

    def question(self, method: str, params: McpObject, client: Mapping[str, Json]) -> None:
        """Count a question.

        Raises:
            McpError: it is one too many, too large, or not for this client.

        """
        self.questions += 1
        if ASKABLE.get(method) not in client:
            raise McpError(METHOD_NOT_FOUND, "The client cannot be asked this.")
        if self.questions > QUESTIONS_MAX or len(encode(params)) > QUESTION_MAX_BYTES:
            raise McpError(INVALID_REQUEST, "The question is too large, or one too many.")


@dataclass(slots=True)
class BoundedCourier:
    """The client of one call as its server sees it. It is asked only where the wire can carry it."""

    inner: Courier
    client: Mapping[str, Json] = field(default_factory=dict)
    bounds: CallBounds = field(default_factory=CallBounds)

    @property
    def revision(self) -> str:
        """Return the revision that the client speaks."""
        return self.inner.revision

    @property
    def level(self) -> str:
        """Return from which level on the client hears log lines."""
        return level_of(self.inner)

    async def notify(self, method: str, params: McpObject) -> None:
        """Pass a notification on."""
        if self.bounds.note(params):
            await self.inner.notify(method, params)

    async def ask(self, method: str, params: McpObject) -> McpObject:
        """Ask the client."""
        self.bounds.question(method, params, self.client)
        if self.inner.revision >= NEWEST:
            raise McpError(METHOD_NOT_FOUND, "The client cannot be asked in the middle of a call.")
        return await self.inner.ask(method, params)


async def answered_by_asking(result: McpObject, courier: Courier) -> dict[str, Json]:
    """Ask a client with a session what a server of the newest revision wants to know; return the answers.

    What a client cannot be asked is declined in the words of that question.

    Raises:
        McpError: it cannot be declined either.

    """
    requests = result.get("inputRequests")
    answers: dict[str, Json] = {}
    for key, one in (requests if isinstance(requests, dict) else {}).items():
        method = one.get("method") if isinstance(one, dict) else None
        params = one.get("params") if isinstance(one, dict) else None
        if not isinstance(method, str) or method not in ASKABLE:
            raise McpError(INVALID_REQUEST, "The tool server asks something unknown.")
        if ASKABLE[method] in courier.client:
            answers[key] = await courier.ask(method, params if isinstance(params, dict) else {})
        elif method == "elicitation/create":
            answers[key] = {"action": "decline"}
        elif method == "roots/list":
            answers[key] = {"roots": []}
        else:
            raise McpError(INVALID_REQUEST, "The tool needs a model of the client, which has none.")
    return answers


@dataclass(frozen=True, slots=True)
class AbsentClient:
    """A client that has gone: it is told nothing and cannot be asked."""

    revision: str
    client: Mapping[str, Json] = field(default_factory=dict)

    async def notify(self, method: str, params: McpObject) -> None:
        """Tell nobody."""

    async def ask(self, method: str, params: McpObject) -> McpObject:
        """Refuse: nobody is there to answer."""
        del params
        raise McpError(METHOD_NOT_FOUND, f"Nobody is there to answer {method}.")
