"""Secure A2A: a wrap of the official a2a-sdk, and the cryptographic primitives that Hive uses.

    from hive_a2a import SecureA2AClient, SecureA2AServer

The packages, in their order: each imports only those below its line, which import-linter holds.

    command        the command `hive-a2a`: cards, keys, calls, a server, the audit, a probe of foreign servers
    server         `SecureA2AServer`: an official `AgentExecutor` behind every stage, on every binding
    client         `SecureA2AClient`: the official client; cards verified, requests sealed

    server_parts   what a server is made of; application is its ASGI side, grpc_server its gRPC side
    stages         what an authenticated call passes: extensions, rate, breaker, warrant, schema, guard, audit
    served_card    the card as it is served: described, signed, with the key to seal for

    wire           from bytes of a stranger to a `RequestHandler`, and back
    handler        a quick `RequestHandler` and task store of our own

    sealed         Noise on the wire of A2A: requests sealed end to end
    push           notifications: where they may go, how they are signed and sent

    cards          signed cards: who an agent is, and whom we trust
    identity       who calls, by token, key or certificate; and what a client shows

    noise          the Noise protocol itself: handshakes, sessions, replay, rekeying
    buckets        token buckets with a bounded memory; once is the memory of what was used

    crypto         sign, seal, derive; on `cryptography` alone
    policy         what a server and a client insist on; each weakening shows
    asgi           the words of ASGI

    ports          what can be replaced: authenticators, the chain, the log of refusals
    call           one request, the same value on every binding
    faults         which code a failure has on which wire
    errors         what can go wrong
    base64url, exact_json, origins, clock, home   one way each to write, read, compare, tell the time, find a folder

Nothing is imported here before it is asked for, so `import hive_a2a` costs nothing.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hive_a2a.call import Binding as Binding
    from hive_a2a.call import CallerIdentity as CallerIdentity
    from hive_a2a.call import WireCall as WireCall
    from hive_a2a.cards.errors import CardError as CardError
    from hive_a2a.cards.errors import CardFault as CardFault
    from hive_a2a.cards.keys import AgentKeys as AgentKeys
    from hive_a2a.cards.policies import Jwks as Jwks
    from hive_a2a.cards.policies import Pinned as Pinned
    from hive_a2a.cards.policies import Tofu as Tofu
    from hive_a2a.cards.policies import Unsigned as Unsigned
    from hive_a2a.cards.spiffe import SpiffeBundle as SpiffeBundle
    from hive_a2a.cards.trust import FileTrust as FileTrust
    from hive_a2a.cards.trust import MemoryTrust as MemoryTrust
    from hive_a2a.client import SecureA2AClient as SecureA2AClient
    from hive_a2a.errors import A2AError as A2AError
    from hive_a2a.errors import CryptoError as CryptoError
    from hive_a2a.errors import SealError as SealError
    from hive_a2a.errors import WireLimitError as WireLimitError
    from hive_a2a.faults import WireFault as WireFault
    from hive_a2a.handler.fast import FastRequestHandler as FastRequestHandler
    from hive_a2a.handler.memory import MemoryTaskStore as MemoryTaskStore
    from hive_a2a.identity.api_key import ApiKeys as ApiKeys
    from hive_a2a.identity.api_key import StaticBearer as StaticBearer
    from hive_a2a.identity.bearer import JwtBearer as JwtBearer
    from hive_a2a.identity.credentials import ApiKeyAuth as ApiKeyAuth
    from hive_a2a.identity.credentials import BearerToken as BearerToken
    from hive_a2a.identity.credentials import ClientCredentials as ClientCredentials
    from hive_a2a.identity.credentials import TokenExchange as TokenExchange
    from hive_a2a.identity.introspect import Introspection as Introspection
    from hive_a2a.identity.mtls import SpiffeMtls as SpiffeMtls
    from hive_a2a.identity.spiffe_transport import SpiffeTransport as SpiffeTransport
    from hive_a2a.policy import BreakerLimits as BreakerLimits
    from hive_a2a.policy import ClientPolicy as ClientPolicy
    from hive_a2a.policy import Policy as Policy
    from hive_a2a.policy import PushLimits as PushLimits
    from hive_a2a.policy import RateLimits as RateLimits
    from hive_a2a.policy import Sealing as Sealing
    from hive_a2a.policy import Strangers as Strangers
    from hive_a2a.policy import WireLimits as WireLimits
    from hive_a2a.ports import Authenticator as Authenticator
    from hive_a2a.ports import CallChain as CallChain
    from hive_a2a.ports import Stage as Stage
    from hive_a2a.push.sign import verify_notification as verify_notification
    from hive_a2a.server import SecureA2AServer as SecureA2AServer
    from hive_a2a.server_parts import ServerParts as ServerParts
    from hive_a2a.stages.audit import MemoryAudit as MemoryAudit
    from hive_a2a.stages.audit_file import FileAudit as FileAudit
    from hive_a2a.stages.guard import Guard as Guard
    from hive_a2a.stages.schema import SkillSchema as SkillSchema
    from hive_a2a.stages.tenuo_warrants import TenuoWarrants as TenuoWarrants

_HOMES = {
    "call": (
        "Binding",
        "CallerIdentity",
        "WireCall",
    ),
    "cards.errors": (
        "CardError",
        "CardFault",
    ),
    "cards.keys": ("AgentKeys",),
    "cards.policies": (
        "Jwks",
        "Pinned",
        "Tofu",
        "Unsigned",
    ),
    "cards.spiffe": ("SpiffeBundle",),
    "cards.trust": (
        "FileTrust",
        "MemoryTrust",
    ),
    "client": ("SecureA2AClient",),
    "errors": (
        "A2AError",
        "CryptoError",
        "SealError",
        "WireLimitError",
    ),
    "faults": ("WireFault",),
    "handler.fast": ("FastRequestHandler",),
    "handler.memory": ("MemoryTaskStore",),
    "identity.api_key": (
        "ApiKeys",
        "StaticBearer",
    ),
    "identity.bearer": ("JwtBearer",),
    "identity.credentials": (
        "ApiKeyAuth",
        "BearerToken",
        "ClientCredentials",
        "TokenExchange",
    ),
    "identity.introspect": ("Introspection",),
    "identity.mtls": ("SpiffeMtls",),
    "identity.spiffe_transport": ("SpiffeTransport",),
    "policy": (
        "BreakerLimits",
        "ClientPolicy",
        "Policy",
        "PushLimits",
        "RateLimits",
        "Sealing",
        "Strangers",
        "WireLimits",
    ),
    "ports": (
        "Authenticator",
        "CallChain",
        "Stage",
    ),
    "push.sign": ("verify_notification",),
    "server": ("SecureA2AServer",),
    "server_parts": ("ServerParts",),
    "stages.audit": ("MemoryAudit",),
    "stages.audit_file": ("FileAudit",),
    "stages.guard": ("Guard",),
    "stages.schema": ("SkillSchema",),
    "stages.tenuo_warrants": ("TenuoWarrants",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
__all__ = tuple(sorted(_HOME_OF))


def __getattr__(name: str) -> object:
    """Import a name from its home, once it is asked for."""
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    found: object = getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    """List what can be imported from here."""
    return sorted({*globals(), *_HOME_OF})
