"""The server under test: its card, its endpoint, who asks, and what it answered.

Answers are read up to a limit and for a time, redirects are not followed, no proxy of the environment is
asked. The probe speaks as its owner (`token`, if given), as a stranger, or as somebody else (`other_token`).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, NamedTuple
from urllib.parse import quote, urlencode

import anyio
import httpx

from hive_a2a.call import Binding
from hive_a2a.faults import KINDS

ANSWER_MAX_BYTES: Final = 1 << 20
ANSWERS_KEPT_MAX: Final = 500
TIMEOUT_S: Final = 20.0
EXTENSION_REQUIRED: Final = -32008
UNKNOWN_TASK: Final = "hive-probe-no-such-task"
PROBE_TEXT: Final = "hive-a2a probe: a test message. Please answer with one word."
_FOLLOWING: Final = (
    '{"messageId":"hive-probe","role":"ROLE_USER",'
    f'"taskId":"{UNKNOWN_TASK}","parts":[{{"text":"probe"}}]}}'
)
_CODES: Final = {kind.reason: kind.code for kind in KINDS}


class Asker(StrEnum):
    """In whose name a request goes out."""

    OWNER = "owner"
    STRANGER = "stranger"
    OTHER = "other"


class RestRow(NamedTuple):
    """Where a method lives on HTTP+JSON; the rest of its parameters is the query, or the body."""

    verb: str
    path: str


_REST: Final = {
    "SendMessage": RestRow("POST", "/message:send"),
    "GetTask": RestRow("GET", "/tasks/{id}"),
    "ListTasks": RestRow("GET", "/tasks"),
    "CancelTask": RestRow("POST", "/tasks/{id}:cancel"),
    "SubscribeToTask": RestRow("GET", "/tasks/{id}:subscribe"),
    "CreateTaskPushNotificationConfig": RestRow("POST", "/tasks/{taskId}/pushNotificationConfigs"),
    "ListTaskPushNotificationConfigs": RestRow("GET", "/tasks/{taskId}/pushNotificationConfigs"),
    "DeleteTaskPushNotificationConfig": RestRow(
        "DELETE", "/tasks/{taskId}/pushNotificationConfigs/{id}"
    ),
    "GetExtendedAgentCard": RestRow("GET", "/extendedAgentCard"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignReply:
    """What came back. `status` is 0 where nothing came, `code` is the standard's error number, or 0."""

    status: int
    code: int = 0
    text: str = ""
    result: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Tell whether it is what was asked for."""
        return self.result is not None

    @property
    def kept_out(self) -> bool:
        """Tell whether the server wants to know first who asks."""
        return self.status in (401, 403)

    @property
    def at_the_gate(self) -> bool:
        """Tell whether it was turned away before anybody looked at what it wants: no token, or not sealed."""
        return self.kept_out or self.code == EXTENSION_REQUIRED

    @property
    def kind(self) -> tuple[int, int]:
        """Return what makes two answers alike."""
        return self.status, self.code

    def __str__(self) -> str:
        if not self.status:
            return "no answer"
        return f"HTTP {self.status}" + (f", error {self.code}" if self.code else "")


@dataclass(slots=True, kw_only=True)
class ProbedAgent:
    """One server, and all that was heard of it."""

    http: httpx.AsyncClient
    card_url: str
    card: dict[str, Any]
    raw_card: bytes
    endpoint: str
    binding: Binding
    tenant: str = ""
    token: str = ""
    other_token: str = ""
    patience_s: float = 40.0
    task: str = ""
    control: ForeignReply = field(default_factory=lambda: ForeignReply(status=0))
    replies: list[ForeignReply] = field(default_factory=list)

    @property
    def capabilities(self) -> dict[str, Any]:
        """Return what the card says that it can do."""
        found = self.card.get("capabilities")
        return found if isinstance(found, dict) else {}

    @property
    def required_extensions(self) -> list[str]:
        """Return the URIs that a client must know."""
        found = self.capabilities.get("extensions")
        listed = found if isinstance(found, list) else []
        return [
            str(one.get("uri", ""))
            for one in listed
            if isinstance(one, dict) and one.get("required") is True
        ]

    async def prepare(self) -> None:
        """Ask for a task that does not exist, so that later answers can be compared, and begin one."""
        self.control = await self.harmless()
        message = {
            "messageId": "hive-probe-1",
            "role": "ROLE_USER",
            "parts": [{"text": PROBE_TEXT}],
        }
        begun = await self.call("SendMessage", {"message": message})
        task = begun.result.get("task") if isinstance(begun.result, dict) else None
        if isinstance(task, dict) and isinstance(task.get("id"), str):
            self.task = task["id"]

    def headers(self, asker: Asker = Asker.OWNER) -> dict[str, str]:
        """Return the headers of an ordinary request."""
        headers = {"content-type": "application/json", "a2a-version": "1.0"}
        if self.required_extensions:
            headers["a2a-extensions"] = ", ".join(self.required_extensions)
        token = {Asker.OWNER: self.token, Asker.OTHER: self.other_token}.get(asker, "")
        if token:
            headers["authorization"] = f"Bearer {token}"
        return headers

    async def call(
        self,
        method: str,
        params: Mapping[str, Any],
        *,
        asker: Asker = Asker.OWNER,
        headers: Mapping[str, str] | None = None,
    ) -> ForeignReply:
        """Call a method of A2A on the server's binding."""
        sent = self.headers(asker) if headers is None else dict(headers)
        named = {"tenant": self.tenant, **params} if self.tenant else dict(params)
        if self.binding is Binding.REST:
            return await self._call_rest(method, named, sent)
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": named}
        return await self.send("POST", self.endpoint, json.dumps(body).encode(), sent)

    async def _call_rest(
        self, method: str, params: dict[str, Any], headers: dict[str, str]
    ) -> ForeignReply:
        row = _REST[method]
        rest = dict(params)
        tenant = rest.pop("tenant", "")
        path = row.path
        for name in ("id", "taskId"):
            if f"{{{name}}}" in path:
                path = path.replace(f"{{{name}}}", quote(str(rest.pop(name)), safe=""))
        url = self.endpoint.rstrip("/") + (f"/{quote(tenant, safe='')}" if tenant else "") + path
        if row.verb == "POST":
            return await self.send("POST", url, json.dumps(rest).encode(), headers)
        return await self.send(
            row.verb, url + (f"?{urlencode(rest)}" if rest else ""), b"", headers
        )

    async def harmless(
        self,
        *,
        headers: Mapping[str, str] | None = None,
        asker: Asker = Asker.OWNER,
        wrap: tuple[bytes, bytes] = (b"", b""),
        extra: str = "",
        body: bytes | None = None,
    ) -> ForeignReply:
        """Post what changes nothing: it asks for, or speaks to, a task that does not exist.

        `wrap` is put around the body, `extra` is a member of it, `body` replaces it.
        """
        sent = self.headers(asker) if headers is None else dict(headers)
        url = self.endpoint
        if self.binding is Binding.REST:
            url = f"{self.endpoint.rstrip('/')}/message:send"
        content = wrap[0] + self.harmless_text(extra) + wrap[1] if body is None else body
        return await self.send("POST", url, content, sent)

    def harmless_text(self, extra: str = "") -> bytes:
        """Return the body of a harmless request, with more members if wanted."""
        more = f",{extra}" if extra else ""
        if self.binding is Binding.REST:
            return f'{{"message":{_FOLLOWING}{more}}}'.encode()
        params = f'{{"id":"{UNKNOWN_TASK}"}}'
        return f'{{"jsonrpc":"2.0","id":1,"method":"GetTask","params":{params}{more}}}'.encode()

    async def send(
        self, verb: str, url: str, content: bytes, headers: Mapping[str, str]
    ) -> ForeignReply:
        """Send one request and read its answer, within bounds."""
        reply = ForeignReply(status=0)
        try:
            with anyio.fail_after(TIMEOUT_S):
                async with self.http.stream(
                    verb, url, content=content, headers=dict(headers)
                ) as response:
                    reply = _read(response, await _body(response))
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, TimeoutError):
            pass
        if len(self.replies) < ANSWERS_KEPT_MAX:
            self.replies.append(reply)
        return reply

    async def alive(self) -> bool:
        """Tell whether the server still answers as it did before."""
        return (await self.harmless()).kind == self.control.kind


async def _body(response: httpx.Response) -> bytes:
    data = bytearray()
    async for chunk in response.aiter_bytes():
        data += chunk
        if len(data) > ANSWER_MAX_BYTES or _first_event_ended(response, data):
            break
    return bytes(data[:ANSWER_MAX_BYTES])


def _first_event_ended(response: httpx.Response, data: bytearray) -> bool:
    """Of a stream the first event says enough; the rest may never end."""
    streamed = response.headers.get("content-type", "").startswith("text/event-stream")
    return streamed and (b"\n\n" in data or b"\r\n\r\n" in data)


def _read(response: httpx.Response, data: bytes) -> ForeignReply:
    text = data.decode(errors="replace")
    if response.headers.get("content-type", "").startswith("text/event-stream"):
        lines = (line[5:] for line in text.splitlines() if line.startswith("data:"))
        value = _json("".join(lines))
    else:
        value = _json(text)
    result, code = value, 0
    if isinstance(value, dict) and ("error" in value or "jsonrpc" in value):
        code = _code_of(value.get("error"))
        result = None if code else value.get("result")
    failed = response.status_code >= 300
    return ForeignReply(
        status=response.status_code,
        code=code,
        text=text,
        result=None if failed else result,
        headers=dict(response.headers),
    )


def _json(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _code_of(error: object) -> int:
    """Return the standard's number of an error, on either binding; -1 for one without."""
    if error is None:
        return 0
    if not isinstance(error, dict):
        return -1
    details = error.get("details") or error.get("data") or []
    for detail in details if isinstance(details, list) else []:
        reason = detail.get("reason") if isinstance(detail, dict) else None
        if isinstance(reason, str) and reason in _CODES:
            return _CODES[reason]
    code = error.get("code")
    return code if isinstance(code, int) and code else -1
