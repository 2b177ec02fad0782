"""The page that asks the operator: who wants in, which host vouches for it, and for what.

A yes counts only from the browser that the request came to (a cookie), from this very page (a word that is bound
to cookie and request), and from who has the operator's token. It cannot be framed.
"""

import hmac
from collections.abc import Awaitable, Callable, Mapping
from html import escape
from http.cookies import CookieError, SimpleCookie
from typing import Final
from urllib.parse import urlsplit

from hive.core.ids import plain_text
from hive.core.randomness import Randomness
from hive.protocols.mcp.oauth.answers import (
    AsgiReceive,
    AsgiScope,
    AsgiSend,
    OauthError,
    answer,
    body_of,
    fields_of,
    header_in,
    source_of,
)
from hive.protocols.mcp.oauth.issuing import LoginRequest, OauthIssuing

BROWSER_COOKIE: Final = "hive_oauth"
BROWSER_S: Final = 1800
SHOWN_MAX_CHARS: Final = 300
"""More than the longest name of a host, whose end is what counts."""
_MEANING: Final = {
    "tools": "call the tools behind this address",
    "agents": "talk to this agent",
    "observe": "see agents, tasks and records of this node",
    "operate": "start, stop and change agents of this node",
}

IsOperator = Callable[[str], Awaitable[bool]]


class ConsentPage:
    """Shows the question and takes the answer."""

    def __init__(
        self,
        *,
        issuing: OauthIssuing,
        randomness: Randomness,
        is_operator: IsOperator,
        secure: Callable[[], bool],
    ) -> None:
        self._issuing = issuing
        self._randomness = randomness
        self._is_operator = is_operator
        self._secure = secure
        self._secret = randomness.token(32)

    async def begin(self, scope: AsgiScope, send: AsgiSend) -> None:
        """Take a request of a client; go on from here, so that a strict cookie of the page comes along."""
        query = scope.get("query_string", b"").decode("latin-1")
        await self._issuing.asked(fields_of(query), source_of(scope))
        cookies, headers = _cookies(scope), {}
        if not cookies.get(BROWSER_COOKIE):
            headers["set-cookie"] = (
                f"{BROWSER_COOKIE}={self._randomness.token(24).hex()}; Path=/oauth; HttpOnly;"
                f" SameSite=Lax; Max-Age={BROWSER_S}{'; Secure' if self._secure() else ''}"
            )
        onward = escape(f"/oauth/consent?{query}", quote=True)
        body = (
            f'<meta http-equiv="refresh" content="0; url={onward}"><a href="{onward}">Continue</a>'
        )
        await _page(send, body, headers=headers)

    async def show(self, scope: AsgiScope, send: AsgiSend, problem: str = "") -> None:
        """Ask the operator."""
        query = scope.get("query_string", b"").decode("latin-1")
        request = await self._issuing.asked(fields_of(query), source_of(scope))
        cookies = _cookies(scope)
        browser = cookies.get(BROWSER_COOKIE, "")
        if not browser:
            raise OauthError("invalid_request", "This browser keeps no cookies, or came in midway.")
        body = _question(request, word=self._word(browser, query), problem=problem)
        origin = "{0.scheme}://{0.netloc}".format(urlsplit(request.redirect_uri))
        await _page(send, body, status=401 if problem else 200, answers_to=origin)

    async def decide(self, scope: AsgiScope, receive: AsgiReceive, send: AsgiSend) -> None:
        """Take the operator's answer."""
        query = scope.get("query_string", b"").decode("latin-1")
        cookies = _cookies(scope)
        form = fields_of((await body_of(receive)).decode("utf-8", "replace"))
        browser = cookies.get(BROWSER_COOKIE, "")
        site = header_in(scope, b"sec-fetch-site")
        word = form.get("word", "").encode("utf-8", "replace")
        ours = hmac.compare_digest(word, self._word(browser, query).encode())
        if not browser or not ours or site not in ("", "same-origin"):
            raise OauthError("access_denied", "The answer did not come from the page.", status=403)
        request = await self._issuing.asked(fields_of(query), source_of(scope))
        if not await self._may_decide(form):
            await self.show(scope, send, "That is not the operator's token.")
            return
        chosen = frozenset(one for one in request.scopes if f"scope-{one}" in form)
        if form.get("decision") == "yes" and chosen:
            url = await self._issuing.agreed(request, chosen)
        else:
            denied = {"error": "access_denied"}
            url = self._issuing.sent_back(request.redirect_uri, request.state, denied)
        await answer(send, 303, b"", {"location": url})

    async def _may_decide(self, form: Mapping[str, str]) -> bool:
        # The page's cookie only shows the page, and any program on this machine may be sent it.
        shown = form.get("token", "").strip()
        return bool(shown) and await self._is_operator(shown)

    def _word(self, browser: str, query: str) -> str:
        bound = f"{browser}\0{query}".encode("utf-8", "replace")
        return hmac.digest(self._secret, bound, "sha256").hex()


async def show_problem(
    send: AsgiSend, error: str, text: str, *, status: int, headers: Mapping[str, str]
) -> None:
    """Tell a person that a login cannot go on; nobody else hears of it, and no browser is sent anywhere."""
    body = (
        f'<h1>This login cannot go on</h1><p class="bad" role="alert">{_shown(text)}</p>'
        f'<p><code>{_shown(error)}</code></p><p class="quiet">Nothing was given to anybody.'
        " This page can be closed.</p>"
    )
    await _page(send, body, status=status, headers=headers)


def _question(request: LoginRequest, *, word: str, problem: str) -> str:
    client = request.client
    vouching = (
        f"<strong>{_shown(client.host)}</strong> (its description lies there)"
        if client.host
        else "<strong>nobody</strong>: it registered itself"
    )
    boxes = "".join(
        f'<p><label><input type="checkbox" name="scope-{one}" value="1"'
        f"{'' if one == 'operate' else ' checked'}> "
        f"<code>{one}</code>: {_MEANING[one]}</label></p>"
        for one in request.scopes
    )
    proof = (
        '<p><label>The operator\'s token <input name="token" type="password"'
        ' autocomplete="off"></label></p>'
    )
    note = f'<p class="bad" role="alert">{_shown(problem)}</p>' if problem else ""
    return (
        f"<h1>A program wants to use this node</h1>{note}"
        f"<p>It calls itself <strong>{_shown(client.name) or '(nothing)'}</strong>. Who vouches for"
        f" it: {vouching}. The answer goes to"
        f" <strong>{_shown(urlsplit(request.redirect_uri).netloc)}</strong>.</p>"
        f"<p>It wants to use <code>{_shown(request.resource)}</code>:</p>"
        f'<form method="post"><input type="hidden" name="word" value="{word}">{boxes}{proof}'
        '<button name="decision" value="yes">Allow</button> '
        '<button name="decision" value="no">Refuse</button></form>'
        '<p class="quiet">Only go on if you started this yourself, just now.</p>'
    )


def _shown(text: str) -> str:
    return escape(plain_text(text)[:SHOWN_MAX_CHARS], quote=True)


async def _page(
    send: AsgiSend,
    body: str,
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    answers_to: str = "",
) -> None:
    policy = (
        "default-src 'none'; style-src 'self'; base-uri 'none'; frame-ancestors 'none'; "
        f"form-action 'self' {answers_to}"
    ).strip()
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Hive</title>'
        '<link rel="stylesheet" href="/assets/page.css"></head><body><main>'
        f"{body}</main></body></html>"
    )
    fixed = {"content-type": "text/html; charset=utf-8", "content-security-policy": policy}
    await answer(send, status, page.encode(), {**fixed, **(headers or {})})


def _cookies(scope: AsgiScope) -> dict[str, str]:
    try:
        jar = SimpleCookie(header_in(scope, b"cookie"))
    except CookieError:
        return {}
    return {name: morsel.value for name, morsel in jar.items()}
