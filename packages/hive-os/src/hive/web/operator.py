"""The operator API: every command as one path under `/api/`.

Served twice by the node: on the control socket, whose file mode says who may speak, and on the public
port, where each request must show the operator's token. The page's cookie opens nothing here, so
another site's script has nothing to ride on.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeAlias

import msgspec

from hive.core.call import Principal
from hive.core.errors import BadInputError, IdentityError, NotFoundError, RoleError
from hive.core.ids import agent_id, foreign_id
from hive.core.task import TaskState
from hive.security.roles import OPERATOR, OperatorRole, RoleBook, acting
from hive.web.chapters import Answer, ApiQuestion, Chapter, Lines, RouteKey
from hive.web.ports import Console
from hive.web.sessions import PageSessions
from hive.web.values import (
    CallOrder,
    DeployOrder,
    ParkedDecision,
    TaskFilter,
    TokenOrder,
)
from hive.web.wire import (
    Receive,
    Scope,
    Send,
    header,
    query,
    read_body,
    read_struct,
    send_error,
    send_json,
    send_lines,
)

PREFIX: Final = "/api/"
LAST_MAX: Final = 100_000
LIMIT_MAX: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request, taken apart: what stands in the path after the verb, and the query."""

    receive: Receive
    send: Send
    rest: tuple[str, ...]
    query: dict[str, str]


Handler: TypeAlias = Callable[[Request], Awaitable[None]]


class OperatorApi:
    """Serve a `Console` over HTTP; with `guarded`, only to who shows an operator's token, as far as its role reaches.

    Without a book of roles every role but admin reaches nothing.
    """

    def __init__(
        self,
        console: Console,
        *,
        sessions: PageSessions,
        guarded: bool,
        chapters: Sequence[Chapter] = (),
        roles: RoleBook | None = None,
    ) -> None:
        self._console = console
        self._sessions = sessions
        self._guarded = guarded
        self._roles = roles
        self._routes: dict[tuple[str, str, int], Handler] = {
            ("GET", "status", 0): self._status,
            ("GET", "agents", 0): self._agents,
            ("POST", "plan", 0): self._plan,
            ("POST", "agents", 0): self._deploy,
            ("GET", "agents", 1): self._agent,
            ("DELETE", "agents", 1): self._remove,
            ("POST", "agents", 2): self._agent_verb,
            ("GET", "tasks", 0): self._tasks,
            ("GET", "tasks", 1): self._task,
            ("POST", "tasks", 2): self._task_verb,
            ("GET", "logs", 0): self._logs,
            ("GET", "trace", 0): self._trace,
            ("GET", "trace", 1): self._trace,
            ("GET", "audit", 1): self._audit,
            ("GET", "doctor", 0): self._doctor,
            ("POST", "backup", 0): self._backup,
            ("POST", "shutdown", 0): self._shutdown,
            ("POST", "page-key", 0): self._page_key,
            ("GET", "parked", 0): self._parked,
            ("POST", "parked", 1): self._decide,
            ("GET", "tokens", 0): self._list_tokens,
            ("POST", "tokens", 0): self._issue_token,
            ("DELETE", "tokens", 1): self._revoke_token,
        }
        for chapter in chapters:
            for key, answer in chapter.answers.items():
                self._routes[key] = partial(_answer_chapter, answer)
            for key, lines in chapter.streams.items():
                self._routes[key] = partial(_stream_chapter, lines)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        try:
            verb, *rest = scope["path"].removeprefix(PREFIX).split("/")
            key = (scope["method"], verb, len(rest))
            principal = await self._identify(scope, key)
            handler = self._routes.get(key, _unknown)
            request = Request(receive=receive, send=send, rest=tuple(rest), query=query(scope))
            with acting(principal):
                await handler(request)
        except Exception as error:  # noqa: BLE001  every failure is told in the API's own words
            await send_error(send, error)

    @property
    def routes(self) -> Sequence[RouteKey]:
        """Return every path that is served: method, noun, number of segments after it."""
        return tuple(self._routes)

    async def _identify(self, scope: Scope, key: RouteKey) -> Principal:
        """Return who asks. Raises IdentityError, RoleError."""
        if not self._guarded:
            return OPERATOR
        scheme, _, token = header(scope, b"authorization").partition(" ")
        shown = token.strip() if scheme.lower() == "bearer" else ""
        seat = await self._console.operator_seat(shown) if shown else None
        if seat is None:
            raise IdentityError(
                "This path needs the operator's token.",
                why="The request shows none, or not the right one.",
                fix="Send `Authorization: Bearer TOKEN`; `hive status` prints where the token lies.",
            )
        if not self._may(seat.role, key):
            raise RoleError(
                "The role of this token does not reach that far.",
                why=f"It is a token of {seat.principal.name}, whose role is {seat.role.value}.",
                fix="An admin makes another: hive token issue NAME --role ROLE",
            )
        return seat.principal

    def _may(self, role: OperatorRole, key: RouteKey) -> bool:
        if role is OperatorRole.ADMIN:
            return True
        method, noun, segments = key
        return self._roles is not None and self._roles.allows(role, method, f"/{noun}/{segments}")

    async def _status(self, request: Request) -> None:
        await send_json(request.send, await self._console.status())

    async def _agents(self, request: Request) -> None:
        await send_json(request.send, list(await self._console.agents()))

    async def _agent(self, request: Request) -> None:
        await send_json(request.send, await self._console.agent(agent_id(request.rest[0])))

    async def _plan(self, request: Request) -> None:
        order = await read_struct(request.receive, DeployOrder)
        await send_json(request.send, await self._console.plan(order))

    async def _deploy(self, request: Request) -> None:
        order = await read_struct(request.receive, DeployOrder)
        await send_lines(request.send, request.receive, self._console.deploy(order))

    async def _remove(self, request: Request) -> None:
        await self._console.remove(agent_id(request.rest[0]))
        await send_json(request.send, {"removed": request.rest[0]})

    async def _agent_verb(self, request: Request) -> None:
        name, verb = agent_id(request.rest[0]), request.rest[1]
        if verb == "call":
            order = await read_struct(request.receive, CallOrder)
            await send_lines(request.send, request.receive, self._console.call(name, order))
        elif verb == "stop":
            await self._console.stop(name, drain_s=_number(request, "drain_s", 0.0, 3600.0))
            await send_json(request.send, {"stopped": name})
        elif verb == "start":
            await send_json(request.send, await self._console.start(name))
        else:
            raise _no_such_path()

    async def _tasks(self, request: Request) -> None:
        asked = request.query
        found = TaskFilter(
            agent=asked.get("agent", ""),
            state=_state(asked.get("state", "")),
            context_id=asked.get("context_id", ""),
            cursor=asked.get("cursor", ""),
            limit=max(1, int(_number(request, "limit", 50, LIMIT_MAX))),
        )
        await send_json(request.send, await self._console.tasks(found))

    async def _task(self, request: Request) -> None:
        task = foreign_id(request.rest[0], what="task id")
        await send_json(request.send, await self._console.task(task))

    async def _task_verb(self, request: Request) -> None:
        if request.rest[1] != "cancel":
            raise _no_such_path()
        task = foreign_id(request.rest[0], what="task id")
        await send_json(request.send, await self._console.cancel(task))

    async def _parked(self, request: Request) -> None:
        await send_json(request.send, list(await self._console.parked()))

    async def _decide(self, request: Request) -> None:
        task = foreign_id(request.rest[0], what="task id")
        said = await read_struct(request.receive, ParkedDecision)
        await send_json(request.send, await self._console.decide(task, repeat=said.repeat))

    async def _logs(self, request: Request) -> None:
        name = request.query.get("agent", "")
        if name:
            name = agent_id(name)
        last = int(_number(request, "last", 100, LAST_MAX))
        async with self._console.logs(name, last=last, follow=_flag(request, "follow")) as lines:
            await send_lines(request.send, request.receive, lines)

    async def _trace(self, request: Request) -> None:
        task = foreign_id(request.rest[0], what="task id") if request.rest else ""
        await send_json(request.send, await self._console.trace(task))

    async def _audit(self, request: Request) -> None:
        if request.rest[0] == "verify":
            await send_json(request.send, await self._console.audit_verify())
        elif request.rest[0] == "tail":
            last = int(_number(request, "last", 20, LAST_MAX))
            follow = _flag(request, "follow")
            async with self._console.audit_tail(last=last, follow=follow) as entries:
                await send_lines(request.send, request.receive, entries)
        else:
            raise _no_such_path()

    async def _doctor(self, request: Request) -> None:
        await send_json(request.send, await self._console.doctor())

    async def _backup(self, request: Request) -> None:
        target = await read_struct(request.receive, BackupOrder)
        await send_json(request.send, await self._console.backup(target.path))

    async def _shutdown(self, request: Request) -> None:
        await self._console.shutdown()
        await send_json(request.send, {"stopping": True})

    async def _page_key(self, request: Request) -> None:
        await send_json(request.send, {"key": self._sessions.make_key()})

    async def _list_tokens(self, request: Request) -> None:
        await send_json(request.send, list(await self._console.list_tokens()))

    async def _issue_token(self, request: Request) -> None:
        order = await read_struct(request.receive, TokenOrder)
        await send_json(request.send, await self._console.issue_token(order))

    async def _revoke_token(self, request: Request) -> None:
        token = foreign_id(request.rest[0], what="token id")
        await self._console.revoke_token(token)
        await send_json(request.send, {"revoked": token})


class BackupOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a backup is to be written, on the node's machine."""

    path: str


async def _answer_chapter(answer: Answer, request: Request) -> None:
    await send_json(request.send, await answer(await _question(request)))


async def _stream_chapter(lines: Lines, request: Request) -> None:
    await send_lines(request.send, request.receive, lines(await _question(request)))


async def _question(request: Request) -> ApiQuestion:
    body = await read_body(request.receive)
    return ApiQuestion(rest=request.rest, query=request.query, body=body)


async def _unknown(_request: Request) -> None:
    raise _no_such_path()


def _no_such_path() -> NotFoundError:
    return NotFoundError(
        "The operator API has no such path.", fix="`hive --help` lists what there is."
    )


def _number(request: Request, name: str, default: float, limit: float) -> float:
    text = request.query.get(name, "")
    if not text:
        return default
    try:
        value = float(text)
    except ValueError as error:
        raise BadInputError(f"The field {name} is not a number.") from error
    if not 0 <= value <= limit:  # refuses NaN as well
        raise BadInputError(f"The field {name} is out of range.", why=f"0 to {limit:g} is allowed.")
    return value


def _state(text: str) -> str:
    if text and text not in set(TaskState):
        known = ", ".join(TaskState)
        raise BadInputError("There is no such task state.", why=f"Known: {known}.")
    return text


def _flag(request: Request, name: str) -> bool:
    return request.query.get(name, "") in ("1", "true")
