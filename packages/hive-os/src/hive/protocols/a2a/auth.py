"""Who calls? Found out from the socket and the Authorization header, before a byte of the body is read.

A request on a sandbox's socket carries a handle, which the kernel resolves to the turn that runs there.
Any other request carries a token, or nothing; nothing is nobody, unless the operator lets strangers in.
"""

from dataclasses import dataclass
from typing import Final

from hive.core.call import Principal, PrincipalKind, Refused
from hive.core.ids import AgentId, OwnerId, SandboxId
from hive.kernel.ports import Gate
from hive.security.tokens import Bearer, Tokens
from hive_a2a.faults import REFUSED, UNAUTHENTICATED, WireFault
from hive_a2a.server import Scope, header

SANDBOX_KEY: Final = "hive.sandbox"
REALM: Final = b'Bearer realm="hive"'
STRANGER: Final = Principal(
    kind=PrincipalKind.ANONYMOUS, name="anonymous", owner=OwnerId("anonymous")
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CallerCheck:
    """Tells who a request is from."""

    gate: Gate
    tokens: Tokens
    anonymous: bool

    def identify(self, scope: Scope) -> Bearer:
        """Return who calls.

        Raises:
            WireFault: nobody that is known (401).

        """
        return self.recognise(bearer_of(header(scope, b"authorization")), scope.get(SANDBOX_KEY))

    def recognise(self, shown: str, sandbox: str | None = None) -> Bearer:
        """Return who shows this token, or this handle on a sandbox's socket.

        Raises:
            WireFault: nobody that is known (401).

        """
        if sandbox is not None:
            principal = self.gate.resolve_handle(SandboxId(sandbox), shown)
            if isinstance(principal, Refused):
                raise WireFault(UNAUTHENTICATED, principal.reason)
            return Bearer(principal=principal)
        if not shown and self.anonymous:
            return Bearer(principal=STRANGER)
        bearer = self.tokens.recognise(shown)
        if isinstance(bearer, Refused):
            reason = bearer.reason if shown else "A token is needed: Authorization: Bearer <token>."
            raise WireFault(UNAUTHENTICATED, reason)
        return bearer


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
        raise WireFault(
            UNAUTHENTICATED, "Without a token a task can be begun, but not read, changed or listed."
        )


def bearer_of(authorization: bytes) -> str:
    """Return the token of an Authorization header; empty where there is none or another scheme."""
    scheme, _, token = authorization.strip().partition(b" ")
    if scheme.lower() != b"bearer":
        return ""
    try:
        return token.strip().decode("ascii")
    except UnicodeDecodeError:
        return "\ufffd"
