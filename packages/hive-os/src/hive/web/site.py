"""Everything of the operator on the public port: the page, health, public facts and the guarded API.

The page is shown to who has a session: opened by a one-time link that a command printed, or by the
token in a form. The cookie is HttpOnly and SameSite=Strict and only shows the page; it commands nothing.
"""

from collections.abc import Sequence
from http.cookies import CookieError, SimpleCookie
from importlib.resources import files
from typing import Final
from urllib.parse import parse_qsl

from hive.core.errors import BadInputError, NotFoundError
from hive.security.roles import RoleBook
from hive.web.approvals import QuestionDesk
from hive.web.chapters import Chapter
from hive.web.metrics import PATH as METRICS_PATH
from hive.web.metrics import MetricsPage
from hive.web.operator import PREFIX, OperatorApi
from hive.web.page import POLICY, live_sections, login_page, whole_page
from hive.web.ports import Console
from hive.web.sessions import SESSION_LIFETIME_S, PageSessions
from hive.web.spend import SpendSource
from hive.web.tools import LiveToolsSource
from hive.web.values import TaskFilter
from hive.web.wire import (
    Receive,
    Scope,
    Send,
    header,
    query,
    read_body,
    send_bytes,
    send_error,
    send_json,
)

COOKIE: Final = "hive_page"
TASKS_SHOWN: Final = 25
LOGIN_MAX_BYTES: Final = 4096
HTML: Final = b"text/html; charset=utf-8"
_ASSETS: Final = {
    "/assets/page.css": ("page.css", b"text/css; charset=utf-8"),
    "/assets/page.js": ("page.js", b"text/javascript; charset=utf-8"),
}
_POLICY_HEADER: Final = (b"content-security-policy", POLICY.encode())
_OPEN_PATHS: Final = frozenset(
    {"/", "/live", "/login", "/api/health", "/api/ready", "/.well-known/hive-mesh.json", *_ASSETS}
)


class OperatorSite:
    """Serve the page, health, facts and the guarded operator API as one ASGI application."""

    def __init__(
        self,
        console: Console,
        *,
        sessions: PageSessions,
        secure: bool = False,
        chapters: Sequence[Chapter] = (),
        spend: SpendSource | None = None,
        metrics: MetricsPage | None = None,
        tools: LiveToolsSource | None = None,
        approvals: QuestionDesk | None = None,
        roles: RoleBook | None = None,
    ) -> None:
        self._console = console
        self._spend = spend
        self._metrics = metrics
        self._tools = tools
        self._approvals = approvals
        self._sessions = sessions
        self._secure = secure
        self._api = OperatorApi(
            console, sessions=sessions, guarded=True, chapters=chapters, roles=roles
        )

    def serves(self, path: str) -> bool:
        """Tell whether a path belongs to this door."""
        return path in _OPEN_PATHS or path == METRICS_PATH or path.startswith(PREFIX)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        try:
            await self._answer(scope, receive, send)
        except Exception as error:  # noqa: BLE001  every failure is told in the API's own words
            await send_error(send, error)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        if path == "/login":
            await self._login(scope, receive, send)
        elif path == METRICS_PATH and self._metrics is not None:
            _only_read(scope)
            await self._metrics.answer(scope, send)
        elif path not in _OPEN_PATHS:
            if not path.startswith(PREFIX):
                raise NotFoundError("There is nothing at this address.")
            await self._api(scope, receive, send)
        else:
            _only_read(scope)
            if path in ("/", "/live"):
                await self._show(scope, send, live=path == "/live")
            else:
                await self._open(path, send)

    async def _open(self, path: str, send: Send) -> None:
        if path == "/api/health":
            await send_json(send, {"status": "ok"})
        elif path == "/api/ready":
            readiness = self._console.readiness()
            await send_json(send, readiness, status=200 if readiness.ready else 503)
        elif path in _ASSETS:
            name, content_type = _ASSETS[path]
            body = files("hive.web").joinpath("assets", name).read_bytes()
            await send_bytes(send, 200, body, content_type, headers=(_POLICY_HEADER,))
        else:
            await send_json(send, self._console.facts())

    async def _show(self, scope: Scope, send: Send, *, live: bool) -> None:
        key = query(scope).get("key", "")
        if key and not live:
            session = self._sessions.spend_key(key)
            if session is not None:
                await self._enter(send, session)
                return
        if not self._sessions.holds(_cookie(scope)):
            if live:
                await _send_page(send, "", status=401)
                return
            problem = "That link was used or is too old." if key else ""
            await _send_page(send, login_page(problem), status=401)
            return
        tasks = await self._console.tasks(TaskFilter(limit=TASKS_SHOWN))
        sections = live_sections(
            await self._console.status(),
            await self._console.agents(),
            tasks.tasks,
            None if self._spend is None else await self._spend.live(),
            None if self._tools is None else self._tools.live(),
            () if self._approvals is None else await self._approvals.lines(),
        )
        await _send_page(send, sections if live else whole_page(sections))

    async def _login(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "POST":
            raise BadInputError("This path takes a form.", fix="Open the page at / instead.")
        if header(scope, b"sec-fetch-site") not in ("", "same-origin", "none"):
            raise BadInputError("Another site sent this form.")
        body = await read_body(receive, limit_bytes=LOGIN_MAX_BYTES)
        form = dict(parse_qsl(body.decode("utf-8", "replace"), max_num_fields=4))
        # The page only shows, so that every role may see it.
        if await self._console.operator_seat(form.get("token", "").strip()) is None:
            await _send_page(send, login_page("That is not an operator's token."), status=401)
            return
        await self._enter(send, self._sessions.open_session())

    async def _enter(self, send: Send, session: str) -> None:
        secure = "; Secure" if self._secure else ""
        cookie = (
            f"{COOKIE}={session}; Path=/; HttpOnly; SameSite=Strict; "
            f"Max-Age={SESSION_LIFETIME_S:.0f}{secure}"
        )
        # A page instead of a redirect: a browser withholds a strict cookie from a redirect that
        # began on another site, and a link opened from a terminal or a mail is such a start.
        body = (
            '<!doctype html><meta charset="utf-8"><title>Hive</title>'
            '<meta http-equiv="refresh" content="0; url=/"><a href="/">Continue</a>'
        )
        await _send_page(send, body, extra=((b"set-cookie", cookie.encode()),))


def _only_read(scope: Scope) -> None:
    if scope["method"] not in ("GET", "HEAD"):
        raise BadInputError("This path is only read.", fix="Use GET.")


async def _send_page(
    send: Send, body: str, *, status: int = 200, extra: tuple[tuple[bytes, bytes], ...] = ()
) -> None:
    await send_bytes(send, status, body.encode(), HTML, headers=(_POLICY_HEADER, *extra))


def _cookie(scope: Scope) -> str:
    try:
        jar = SimpleCookie(header(scope, b"cookie"))
    except CookieError:
        return ""
    morsel = jar.get(COOKIE)
    return morsel.value if morsel else ""
