"""Who knocks at an endpoint of MCP: an agent with its sandbox's handle, or somebody with a token.

Only the head of a request is read. What does not fit is one answer, whatever the reason.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from hive.core.call import Principal, PrincipalKind, Refused
from hive.core.ids import OwnerId, SandboxId
from hive.kernel.ports import Gate
from hive.protocols.mcp.ports import Turned, Visitor
from hive.security.tokens import PEER_KEY, Bearer, Tokens

SANDBOX_KEY: Final = "hive.sandbox"
ROOT: Final = "/mcp"
HANDLE_MARK: Final = "~"
SHOWN_MAX_CHARS: Final = 8192
STRANGER: Final = Principal(
    kind=PrincipalKind.ANONYMOUS, name="anonymous", owner=OwnerId("anonymous")
)
AGENTS: Final = (f"{ROOT}/agents",)
TOOLS: Final = (f"{ROOT}/tools", f"{ROOT}/servers")
_NEEDS_TOKEN: Final = "A token is needed: Authorization: Bearer <token>."  # noqa: S105  (no secret)

Recognise: TypeAlias = Callable[
    [Mapping[str, object], Mapping[str, str]], Awaitable[Visitor | Turned | None]
]
"""Tell who shows an OAuth access token: None where it is none, an answer where it is not good enough."""

Challenge: TypeAlias = Callable[[Mapping[str, object]], str]
"""Write what `WWW-Authenticate` says for a path, so that a client finds where to get a token."""


def split_handle(path: str) -> tuple[str, str]:
    """Return the handle in a path and the path without it: `/mcp/~HANDLE/servers/x` is `/mcp/servers/x`."""
    mark = f"{ROOT}/{HANDLE_MARK}"
    if not path.startswith(mark):
        return "", path
    handle, slash, rest = path[len(mark) :].partition("/")
    return handle, f"{ROOT}{slash}{rest}".rstrip("/")


@dataclass(frozen=True, slots=True, kw_only=True)
class HandleDoorman:
    """Knows agents by the handle of the sandbox whose socket the connection came through."""

    gate: Gate

    async def identify(
        self, scope: Mapping[str, object], headers: Mapping[str, str]
    ) -> Visitor | Turned:
        """Return the agent whose turn runs there."""
        sandbox = scope.get(SANDBOX_KEY)
        in_path, _ = split_handle(str(scope.get("path", "")))
        shown = {in_path, _bearer(headers), headers.get("x-api-key", "").strip()} - {""}
        if not isinstance(sandbox, str) or not sandbox or len(shown) != 1:
            return _unknown("Send the handle that stands in the sandbox's environment, once.")
        found = self.gate.resolve_handle(SandboxId(sandbox), shown.pop())
        if isinstance(found, Refused):
            return _unknown(found.reason)
        return Visitor(principal=found, traceparent=headers.get("traceparent", ""))


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenDoorman:
    """Knows people and programs by the operator's token, a client's, or one of OAuth."""

    tokens: Tokens
    anonymous: bool = False
    anonymous_tools: bool = False
    recognise_oauth: Recognise | None = None
    challenge: Challenge = lambda _scope: 'Bearer realm="hive"'

    async def identify(
        self, scope: Mapping[str, object], headers: Mapping[str, str]
    ) -> Visitor | Turned:
        """Return who shows a token that opens this path."""
        path = str(scope.get("path", ""))
        trace = headers.get("traceparent", "")
        if self.recognise_oauth is not None:
            found = await self.recognise_oauth(scope, headers)
            if found is not None:
                return found
        shown = _bearer(headers)
        if not shown:
            return self._stranger(scope, headers)
        bearer = self.tokens.recognise(shown)
        if isinstance(bearer, Refused):
            return self._turned(scope, bearer.reason)
        if bearer.principal.kind is PrincipalKind.OPERATOR:
            return Visitor(principal=bearer.principal, traceparent=trace)
        if not _below(path, AGENTS + TOOLS):
            return Turned(status=403, message="This token does not open the node itself.")
        # A token for certain agents is for those alone: it opens no tool.
        opened = {"agents"} if bearer.agents is not None else {"agents", "tools"}
        return Visitor(
            principal=bearer.principal,
            agents=bearer.agents,
            scopes=frozenset(opened),
            traceparent=trace,
        )

    def _stranger(
        self, scope: Mapping[str, object], headers: Mapping[str, str]
    ) -> Visitor | Turned:
        """Let strangers in where the operator does; who shows something that fails is none."""
        path = str(scope.get("path", ""))
        peer = scope.get(PEER_KEY)
        if isinstance(peer, Bearer) and "authorization" not in headers and _below(path, AGENTS):
            # Whom a certificate names may speak with agents; a tool wants a token.
            return Visitor(
                principal=peer.principal,
                scopes=frozenset({"agents"}),
                traceparent=headers.get("traceparent", ""),
            )
        opened = {"agents": AGENTS, "tools": TOOLS if self.anonymous_tools else ()}
        scopes = frozenset(one for one, paths in opened.items() if _below(path, paths))
        if not self.anonymous or not scopes or "authorization" in headers:
            return self._turned(scope, _NEEDS_TOKEN)
        return Visitor(
            principal=STRANGER,
            scopes=scopes,
            traceparent=headers.get("traceparent", ""),
        )

    def _turned(self, scope: Mapping[str, object], message: str) -> Turned:
        return _unknown(message, challenge=self.challenge(scope))


def _bearer(headers: Mapping[str, str]) -> str:
    scheme, _, token = headers.get("authorization", "").strip().partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or len(token) > SHOWN_MAX_CHARS:
        return ""
    return token if token.isascii() else "\ufffd"


def _unknown(message: str, *, challenge: str = 'Bearer realm="hive"') -> Turned:
    return Turned(status=401, message=message, headers={"www-authenticate": challenge})


def _below(path: str, prefixes: tuple[str, ...]) -> bool:
    return any(path == one or path.startswith(f"{one}/") for one in prefixes)
