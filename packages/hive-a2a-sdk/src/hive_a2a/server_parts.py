"""What a server is made of beside its card and its executor, and what stands in for what is not given."""

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from a2a.server.context import ServerCallContext
from a2a.server.request_handlers.request_handler import RequestHandler
from a2a.types.a2a_pb2 import AgentCard

from hive_a2a.call import RequestHead
from hive_a2a.cards.files import only_writer, read_private, write_private
from hive_a2a.cards.keys import AgentKeys
from hive_a2a.clock import MachineClock, WallClock
from hive_a2a.faults import invalid
from hive_a2a.handler import FastRequestHandler
from hive_a2a.identity.mtls import SpiffeMtls
from hive_a2a.policy import WireLimits
from hive_a2a.ports import Authenticator, CallChain
from hive_a2a.stages.audit import AuditSink

if TYPE_CHECKING:
    from hive_a2a.identity.svid import TlsPeer
    from hive_a2a.stages.guard import Guard
    from hive_a2a.stages.schema import SkillSchema
    from hive_a2a.stages.warrant import WarrantCheck
    from hive_a2a.wire.guarded import TenantOf

AUDIT_KEY_FILE: Final = "audit.key"
_UNLIMITED: Final = 1 << 40


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerParts:
    """What a server is made of beside card and executor; what is left out has a default.

    `folder` holds the keys and the audit; without it, a folder of `hive_a2a.home` by the card's name.
    `task_store`, `push_config_store`, `request_context_builder`, `event_stream`, `extended_card_modifier`,
    `interrupted_task_timeout_s` are the official ones. `handler` makes the handler, with the arguments of the
    official `DefaultRequestHandler`, which may stand here. `chain` replaces rate, breaker, warrant, schema, guard
    and audit; the others are parts of the stand-alone chain. `public_url` is the origin that clients use.
    `tenant_of` says which tenants there are; without it, those that the card's interfaces name.
    `validate_input_modes` refuses parts of a media type that the card does not name, as the standard wants.
    """

    authenticators: Sequence[Authenticator] = ()
    keys: AgentKeys | None = None
    folder: Path | str | None = None
    task_store: Any = None
    push_config_store: Any = None
    request_context_builder: Any = None
    event_stream: Any = None
    interrupted_task_timeout_s: float | None = None
    extended_card: AgentCard | None = None
    extended_card_modifier: Any = None
    validate_input_modes: bool = True
    handler: Callable[..., RequestHandler] = FastRequestHandler
    chain: CallChain | None = None
    audit: AuditSink | None = None
    warrants: "WarrantCheck | None" = None
    schemas: "Mapping[str, SkillSchema]" = field(default_factory=dict)
    guards: "Sequence[Guard]" = ()
    public_url: str = ""
    tenant_of: "TenantOf | None" = None
    hybrid: bool = False
    clock: WallClock = field(default_factory=MachineClock)


def audit_key(folder: Path) -> bytes:
    """Return the key that signs the record of the server in this folder; the first time, make it.

    Raises:
        CardError: the file cannot be used.

    """
    path = folder / AUDIT_KEY_FILE
    with only_writer(path):
        kept = read_private(path)
        if kept is None:
            kept = secrets.token_bytes(32)
            write_private(path, kept)
    return kept


def no_limits() -> WireLimits:
    """Return what stands for limits where a policy switched them off."""
    return WireLimits(
        body_bytes=_UNLIMITED,
        depth=_UNLIMITED,
        head_timeout_s=3600.0,
        body_timeout_s=3600.0,
        send_timeout_s=3600.0,
        requests_open_max=_UNLIMITED,
        requests_open_per_caller_max=_UNLIMITED,
        connections_max=_UNLIMITED,
        handshakes_per_s=_UNLIMITED,
        handshakes_burst=_UNLIMITED,
    )


def declared_tenants(*cards: AgentCard | None) -> "TenantOf":
    """Return what takes the tenants that the interfaces of these cards name, and no others.

    A request that names none passes where an interface names none.
    """
    tenants = {
        one.tenant for card in cards if card is not None for one in card.supported_interfaces
    }

    def tenant_of(_head: RequestHead, named: str) -> str:
        if named not in tenants:
            raise invalid("This agent has no such tenant." if named else "Name a tenant.")
        return named

    return tenant_of


def owner_in_tenant(context: ServerCallContext) -> str:
    """Return who owns what a call makes: the caller, and in each tenant another one.

    It is the owner resolver of the stores that a server makes itself; give it to the official ones too where
    a card names tenants.
    """
    name: str = context.user.user_name
    # A tenant has no line break in it that a request could bring: they are those of the card.
    return f"{context.tenant}\n{name}" if context.tenant else name


def admitted_peers(
    authenticators: Sequence[Authenticator],
) -> "Callable[[TlsPeer | None], bool] | None":
    """Return who may connect, by its client certificate; None where certificates decide nothing.

    A connection without one is the TLS layer's to refuse: whoever lets it in has another way to know callers.
    """
    known = [one for one in authenticators if isinstance(one, SpiffeMtls)]
    if not known:
        return None

    def admits(peer: "TlsPeer | None") -> bool:
        return peer is None or any(one.allows(peer.spiffe_id) for one in known)

    return admits
