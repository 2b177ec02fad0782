"""Who calls? Found out from the socket and the Authorization header, before a byte of the body is read.

A request on a sandbox's socket carries a handle, which the kernel resolves to the turn that runs there. One on the
port for peers comes from whom the certificate of its connection names, unless it shows a token.
Any other request carries a token, or nothing; nothing is nobody, unless the operator lets strangers in.
"""

from dataclasses import dataclass
from typing import Any, Final

from hive.core.call import Principal, PrincipalKind, Refused
from hive.core.ids import AgentId, OwnerId, SandboxId
from hive.kernel.ports import Gate
from hive.security.capability.warrant import Warrant
from hive.security.tokens import PEER_KEY, Bearer, Tokens
from hive_a2a.call import CallerIdentity, RequestHead
from hive_a2a.faults import REFUSED, UNAUTHENTICATED, WireFault

SANDBOX_KEY: Final = "hive.sandbox"
BEARER_CLAIM: Final = "hive.bearer"
SCHEME: Final = "bearer"
STRANGER: Final = Principal(
    kind=PrincipalKind.ANONYMOUS, name="anonymous", owner=OwnerId("anonymous")
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """One request: who, to which agent, how many bytes, in which trace."""

    bearer: Bearer
    agent: AgentId
    size_bytes: int = 0
    traceparent: str = ""
    warrant: Warrant | None = None

    @property
    def principal(self) -> Principal:
        """Return who calls."""
        return self.bearer.principal


@dataclass(frozen=True, slots=True, kw_only=True)
class CallerCheck:
    """Tells who a request is from: the one `Authenticator` of the node's doors."""

    gate: Gate
    tokens: Tokens
    anonymous: bool

    @property
    def scheme(self) -> str:
        """Return the name of the security scheme in the card."""
        return SCHEME

    def card_scheme(self) -> dict[str, Any]:
        """Return the scheme as the card has it."""
        words = "A token that the operator of this node gave out."
        return {"httpAuthSecurityScheme": {"scheme": "Bearer", "description": words}}

    async def identify(self, head: RequestHead) -> CallerIdentity | None:
        """Return who calls; None for a stranger where strangers are let in.

        Raises:
            WireFault: nobody that is known (401).

        """
        shown = bearer_of(head.headers.get("authorization", ""))
        peer = head.scope.get(PEER_KEY)
        if isinstance(peer, Bearer) and not shown:
            return CallerIdentity(
                name=str(peer.principal), scheme=SCHEME, claims={BEARER_CLAIM: peer}
            )
        bearer = self.recognise(shown, head.scope.get(SANDBOX_KEY))
        if bearer.principal.kind is PrincipalKind.ANONYMOUS:
            return None
        return CallerIdentity(
            name=str(bearer.principal), scheme=SCHEME, claims={BEARER_CLAIM: bearer}
        )

    def recognise(self, shown: str, sandbox: str | None = None) -> Bearer:
        """Return who shows this token, or this handle on a sandbox's socket.

        Raises:
            WireFault: nobody that is known (401).

        """
        if sandbox is not None:
            principal = self.gate.resolve_handle(SandboxId(sandbox), shown)
            if isinstance(principal, Refused):
                raise _unknown(principal.reason)
            return Bearer(principal=principal)
        if not shown and self.anonymous:
            return Bearer(principal=STRANGER)
        bearer = self.tokens.recognise(shown)
        if isinstance(bearer, Refused):
            raise _unknown(
                bearer.reason if shown else "A token is needed: Authorization: Bearer <token>."
            )
        return bearer


def bearer_in(caller: CallerIdentity) -> Bearer:
    """Return what the check above found out; a stranger's, where it found nobody."""
    found = caller.claims.get(BEARER_CLAIM)
    return found if isinstance(found, Bearer) else Bearer(principal=STRANGER)


def admit_scope(bearer: Bearer, agent: AgentId) -> None:
    """Let those pass whose token opens this agent.

    Raises:
        WireFault: it opens others only (403). The answer is the same whether the agent exists.

    """
    if not bearer.may_call(agent):
        raise WireFault(REFUSED, "The token does not open this agent.", metadata={"check": "scope"})


def admit_known(bearer: Bearer) -> None:
    """Let those pass who are somebody: strangers share one name, so tasks cannot be theirs alone.

    Raises:
        WireFault: the caller is anonymous (401).

    """
    if bearer.principal.kind is PrincipalKind.ANONYMOUS:
        raise _unknown("Without a token a task can be begun, but not read, changed or listed.")


def bearer_of(authorization: str) -> str:
    """Return the token of an Authorization header; empty where there is none or another scheme."""
    scheme, _, token = authorization.strip().partition(" ")
    if scheme.lower() != "bearer":
        return ""
    return token.strip() if token.isascii() else "\ufffd"


def _unknown(reason: str) -> WireFault:
    return WireFault(UNAUTHENTICATED, reason)
