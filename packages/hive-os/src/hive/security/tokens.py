"""Who shows this token? The operator's own, and those that an operator gave to clients and other operators.

A client's token is `hive-client.<id>.<secret>`, another operator's `hive-operator.<id>.<secret>`. The secret (256 random bits) is shown once, when it is
issued; what is kept is its SHA-256, compared in constant time. Every live token is held in memory, so
that asking costs no query; a change on another node arrives by `watch`.

An agent's handle is no token: it is worth something on its own sandbox's socket only.
"""

import hashlib
import hmac
import logging
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, cast

import anyio

from hive.core.call import Principal, PrincipalKind, Refused
from hive.core.clock import Clock
from hive.core.errors import ConflictError, EngineError, InvalidIdError, NotFoundError
from hive.core.ids import AgentId, OwnerId, agent_id, name, plain_text
from hive.core.randomness import Randomness
from hive.core.secret import Secret
from hive.engines.ports import Database, Row
from hive.security.roles import OPERATOR, OperatorRole, OperatorSeat

log: Final = logging.getLogger(__name__)
PREFIX: Final = "hive-client"
PEER_KEY: Final = "hive.peer"
"""Where the scope of a request says whose certificate its connection showed: a `Bearer`."""
OPERATOR_PREFIX: Final = "hive-operator"
TOKENS_MAX: Final = 10_000
LIFETIME_MAX: Final = timedelta(days=366)
TOKEN_MAX_CHARS: Final = 512
WATCH_PAUSE_S: Final = 0.5
_CHANGED: Final = "hive_token"
_ID_BYTES: Final = 8
_SECRET_BYTES: Final = 32
_ROLES: Final = frozenset(OperatorRole)
_NOT_VALID: Final = Refused(check="identity", reason="The token is not valid.")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientToken:
    """One token as it is kept. `agents` are those it may call; empty means all.

    With a `role` it is an operator's: it opens the operator API as far as that reaches, and no agent.
    """

    id: str
    name: str
    owner: OwnerId
    agents: frozenset[AgentId]
    digest: bytes
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None = None
    role: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bearer:
    """Who shows a token, and which agents it opens; None means all."""

    principal: Principal
    agents: frozenset[AgentId] | None = None

    def may_call(self, agent: AgentId) -> bool:
        """Tell whether the token opens this agent."""
        return self.agents is None or agent in self.agents


class Tokens:
    """Issues, revokes and recognises tokens."""

    def __init__(
        self, *, database: Database, clock: Clock, randomness: Randomness, operator: Secret
    ) -> None:
        self._database = database
        self._clock = clock
        self._randomness = randomness
        self._operator = operator
        self._known: dict[str, ClientToken] = {}

    async def load(self) -> None:
        """Read the live tokens; call it before the doors open."""
        rows = await self._database.fetch(
            "SELECT * FROM token WHERE revoked_at IS NULL AND expires_at > $1"
            " ORDER BY created_at DESC LIMIT $2",
            self._clock.now(),
            TOKENS_MAX,
        )
        self._known = {token.id: token for token in map(_from_row, rows)}

    async def watch(self) -> None:
        """Follow what other nodes issue and revoke, until cancelled; a database that is away comes back."""
        while True:
            try:
                async with self._database.listen(_CHANGED) as changes:
                    await self.load()
                    async for _ in changes:
                        await self.load()
            except EngineError as error:
                log.warning("tokens.not_followed", extra={"error": error.what})
                await anyio.sleep(WATCH_PAUSE_S)

    async def issue(
        self,
        label: str,
        *,
        owner: OwnerId,
        agents: Sequence[AgentId] = (),
        lifetime: timedelta = timedelta(days=90),
        role: OperatorRole | None = None,
    ) -> Secret:
        """Make a token and return it; nobody can read it again.

        Raises:
            InvalidIdError: the label, the owner or an agent's name has a forbidden character.
            ConflictError: there are too many live tokens.

        """
        name(label, what="token name")
        name(owner, what="owner name")
        if role is not None and label == OPERATOR.name:
            raise InvalidIdError(
                f"{label!r} is the name of this node's own operator.",
                fix="Give the token the name of whoever will use it.",
            )
        if not timedelta() < lifetime <= LIFETIME_MAX:
            raise InvalidIdError(
                "A token lives for a positive time, at most a year.",
                why=f"{lifetime} was asked for.",
                fix="Choose a lifetime such as 90 days.",
            )
        if len(self._known) >= TOKENS_MAX:
            raise ConflictError(
                "There are too many live tokens.",
                why=f"At most {TOKENS_MAX} are kept.",
                fix="Revoke those that nobody uses.",
            )
        secret = self._randomness.token(_SECRET_BYTES)
        token = ClientToken(
            id=self._randomness.token(_ID_BYTES).hex(),
            name=label,
            owner=owner,
            agents=frozenset(agent_id(one) for one in agents),
            digest=hashlib.sha256(secret).digest(),
            created_at=self._clock.now(),
            expires_at=self._clock.now() + lifetime,
            role="" if role is None else role.value,
        )
        await self._keep(token)
        prefix = PREFIX if role is None else OPERATOR_PREFIX
        return Secret(f"{prefix}.{token.id}.{urlsafe_b64encode(secret).decode().rstrip('=')}")

    async def revoke(self, token: str) -> None:
        """End a token by its id; from now on it is refused.

        Raises:
            NotFoundError: no live token has that id.

        """
        known = self._known.pop(token, None)
        tag = await self._database.execute(
            "UPDATE token SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL",
            token,
            self._clock.now(),
        )
        if known is None and tag.endswith(" 0"):
            raise NotFoundError(
                f"No live token has the id {plain_text(token)[:40]!r}.",
                fix="List them, then name one of them.",
            )
        await self._database.execute("SELECT pg_notify($1, $2)", _CHANGED, token)

    def live(self) -> tuple[ClientToken, ...]:
        """Return the tokens that are accepted now, oldest first."""
        now = self._clock.now()
        alive = (replace(one, digest=b"") for one in self._known.values() if one.expires_at > now)
        return tuple(sorted(alive, key=lambda one: one.created_at))

    def recognise(self, shown: str) -> Bearer | Refused:
        """Tell who shows this token; every kind of wrong token gets the same answer."""
        if not shown or len(shown) > TOKEN_MAX_CHARS:
            return _NOT_VALID
        if self._operator and self._operator.matches(shown):
            return Bearer(principal=OPERATOR)
        token = self._shown(shown, PREFIX)
        # An operator's token under the other prefix is no client's.
        if token is None or token.role:
            return _NOT_VALID
        if token.expires_at <= self._clock.now():
            return replace(_NOT_VALID, detail=f"token {token.id} has expired")
        principal = Principal(kind=PrincipalKind.CLIENT, name=token.name, owner=token.owner)
        return Bearer(principal=principal, agents=token.agents or None)

    def recognise_operator(self, shown: str) -> OperatorSeat | None:
        """Tell who shows this token to the operator API, None for everybody else."""
        if not shown or len(shown) > TOKEN_MAX_CHARS:
            return None
        if self._operator and self._operator.matches(shown):
            return OperatorSeat(principal=OPERATOR, role=OperatorRole.ADMIN)
        token = self._shown(shown, OPERATOR_PREFIX)
        if token is None or token.role not in _ROLES or token.expires_at <= self._clock.now():
            return None
        principal = Principal(kind=PrincipalKind.OPERATOR, name=token.name, owner=OPERATOR.owner)
        return OperatorSeat(principal=principal, role=OperatorRole(token.role))

    def _shown(self, shown: str, expected: str) -> ClientToken | None:
        """Return the token whose secret is shown under a prefix."""
        prefix, _, rest = shown.partition(".")
        token_id, _, text = rest.partition(".")
        token = self._known.get(token_id)
        secret = _secret_of(text)
        if prefix != expected or token is None or secret is None:
            return None
        found = hashlib.sha256(secret).digest()
        return token if hmac.compare_digest(found, token.digest) else None

    async def _keep(self, token: ClientToken) -> None:
        await self._database.execute(
            "INSERT INTO token (id, name, owner, agents, digest, created_at, expires_at, role)"
            " VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
            token.id,
            token.name,
            token.owner,
            ",".join(sorted(token.agents)),
            token.digest,
            token.created_at,
            token.expires_at,
            token.role,
        )
        self._known[token.id] = token
        await self._database.execute("SELECT pg_notify($1, $2)", _CHANGED, token.id)


def _secret_of(text: str) -> bytes | None:
    try:
        secret = urlsafe_b64decode(text.encode("ascii") + b"=")
    except ValueError:
        return None
    return secret if len(secret) == _SECRET_BYTES else None


def _from_row(row: Row) -> ClientToken:
    agents = cast("str", row["agents"])
    return ClientToken(
        id=cast("str", row["id"]),
        name=cast("str", row["name"]),
        owner=OwnerId(cast("str", row["owner"])),
        agents=frozenset(AgentId(one) for one in agents.split(",") if one),
        digest=cast("bytes", row["digest"]),
        created_at=cast("datetime", row["created_at"]),
        expires_at=cast("datetime", row["expires_at"]),
        revoked_at=cast("datetime | None", row["revoked_at"]),
        role=cast("str", row["role"]),
    )
