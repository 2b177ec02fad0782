"""The identities of this node's agents: who has which, issued, renewed, denied, on the record.

An agent's name makes its id: `spiffe://<trust domain>/agent/<name>`. Whose work it does is not in it: a sandbox has
one agent and, one after the other, turns of different tasks, while an owner's rights travel in warrants. Each
sandbox is one enrolment: it ends with the sandbox, and all that was issued in it is denied in the same moment.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

import anyio

from hive.core.clock import Clock
from hive.core.errors import (
    DeniedError,
    HiveError,
    IdentityError,
    NotFoundError,
    QuotaExceededError,
)
from hive.core.ids import AgentId, NodeId, SandboxId, plain_text
from hive.core.json import Json
from hive.core.randomness import Randomness
from hive.security.identity.certificates import SeenLeaf, verified_leaf
from hive.security.identity.denied import FOREVER, DenyList
from hive.security.identity.enrolments import (
    Enrolment,
    IdentityEvents,
    IssuedBook,
    IssuedLine,
)
from hive.security.identity.jwt_svids import SeenToken, verified_token
from hive.security.identity.ports import (
    Denial,
    DeniedKind,
    Issuer,
    JwtSvid,
    RotationDone,
    SpiffeId,
    SvidOrder,
    TrustBundle,
    X509Svid,
    audiences,
)
from hive.security.identity.quota import IssueQuota

log: Final = logging.getLogger(__name__)
JWT_TTL_S: Final = 300.0
SERIALS_PER_SANDBOX_MAX: Final = 64
TEND_EVERY_S: Final = 30.0
SESSION_BYTES: Final = 16
AGENT: Final = "agent"
NODE: Final = "node"
SERVICE: Final = "service"


class IdentityService:
    """Issues to enrolled sandboxes, and judges what is shown."""

    def __init__(
        self,
        *,
        issuer: Issuer,
        denied: DenyList,
        quota: IssueQuota,
        clock: Clock,
        randomness: Randomness,
        emit: IdentityEvents,
        ttl_s: float = 3600.0,
    ) -> None:
        self._issuer = issuer
        self.denied = denied
        self._quota = quota
        self._clock = clock
        self._randomness = randomness
        self._emit = emit
        self._ttl_s = ttl_s
        self._enrolled: dict[SandboxId, Enrolment] = {}
        self._issued = IssuedBook(clock, emit)
        self._serials: dict[str, Enrolment] = {}
        self._sessions: dict[str, Enrolment] = {}
        self._observers: list[Callable[[], None]] = []
        denied.on_denied(self._heard)

    @property
    def issuer(self) -> Issuer:
        """Return the authority."""
        return self._issuer

    @property
    def trust_domain(self) -> str:
        """Return the trust domain."""
        return self._issuer.trust_domain

    @property
    def ttl_s(self) -> float:
        """Return how long an X.509-SVID lives."""
        return self._ttl_s

    async def note(self, name: str, body: dict[str, Json]) -> None:
        """Write an event of the authority."""
        await self._emit(name, body)

    def id_of(self, agent: AgentId) -> SpiffeId:
        """Return the id of an agent."""
        return SpiffeId.of(self.trust_domain, AGENT, agent)

    def enrol(self, sandbox: SandboxId, agent: AgentId) -> Enrolment:
        """Give a sandbox the identity of its agent."""
        return self._enrol(sandbox, agent, self.id_of(agent))

    def enrol_node(self, node: NodeId) -> Enrolment:
        """Give this node an identity of its own, for its connections."""
        spiffe_id = SpiffeId.of(self.trust_domain, NODE, node)
        return self._enrol(SandboxId(f"{NODE}-{node}"), AgentId(""), spiffe_id)

    def leave(self, enrolment: Enrolment) -> None:
        """End a sandbox's identity: what this node issued in it counts no more from this moment."""
        enrolment.ended = True
        enrolment.current = None
        if self._enrolled.get(enrolment.sandbox) is enrolment:
            del self._enrolled[enrolment.sandbox]
        self._sessions.pop(enrolment.session, None)
        self._quota.forget(enrolment.sandbox)
        # Of an authority elsewhere one SVID may be held by several sandboxes: it ends by its time or by its id.
        for serial in enrolment.serials:
            self._serials.pop(serial, None)
        enrolment.stir()
        self._tell()

    async def x509(self, enrolment: Enrolment) -> X509Svid:
        """Return the sandbox's SVID: the one that is good, or a fresh one from half of its life on.

        Raises:
            DeniedError: the identity was revoked.
            QuotaExceededError: too many were issued.
            IdentityError: the authority refuses, or cannot be reached.

        """
        async with enrolment.renewing:
            self.refuse_denied(enrolment)
            held = enrolment.current
            if held is not None and self.renew_in_s(held) > 0 and not self._is_denied(held):
                return held
            self._charge(enrolment)
            order = SvidOrder(
                subject=enrolment.spiffe_id, ttl_s=self._ttl_s, session=enrolment.session
            )
            svid = await self._issuer.x509(order)
            if enrolment.serials.get(svid.serial) is None:
                if not enrolment.agent:
                    enrolment.spiffe_id = svid.spiffe_id
                await self._issued.record("x509", svid.serial, enrolment, svid.ends_at)
                self._note_serial(enrolment, svid)
            # It may have been revoked, or its sandbox killed, while the line was written.
            if enrolment.ended:
                self.leave(enrolment)
            self.refuse_denied(enrolment)
            enrolment.current = svid
            return svid

    async def for_service(self, name: str, life_s: float, kind: str = SERVICE) -> X509Svid:
        """Issue to a server that is no agent, such as a bus: it is believed as a server, and calls nobody here.

        A node has one of the kind `node` for its database; that one has a common name, `node/<its id>`, as well.

        Raises:
            InvalidIdError: the name is none.
            IdentityError: the authority refuses.

        """
        subject = SpiffeId.of(self.trust_domain, kind, name)
        called = f"{kind}/{name}" if kind == NODE else ""
        svid = await self._issuer.x509(SvidOrder(subject=subject, ttl_s=life_s, common_name=called))
        if svid.spiffe_id != subject:
            raise IdentityError("This authority names servers elsewhere.")
        named = Enrolment(sandbox=SandboxId(kind), agent=AgentId(""), spiffe_id=subject, session="")
        await self._issued.record("x509", svid.serial, named, svid.ends_at)
        return svid

    def renew_in_s(self, svid: X509Svid) -> float:
        """Return how long it takes until a fresh SVID is due."""
        age_s = (self._clock.now() - svid.starts_at).total_seconds()
        return svid.half_life_s - age_s

    async def jwt(
        self, enrolment: Enrolment, audience: Sequence[str], subject: str = ""
    ) -> JwtSvid:
        """Issue a JWT-SVID.

        Raises:
            DeniedError: the identity was revoked, or the subject is another's.
            QuotaExceededError: too many were issued.
            IdentityError: no audience, or the authority refuses.

        """
        listed = audiences(audience)
        if subject and subject != enrolment.spiffe_id.text:
            raise DeniedError("No identity issued.", why="That id is another's.")
        self.refuse_denied(enrolment)
        self._charge(enrolment)
        order = SvidOrder(subject=enrolment.spiffe_id, ttl_s=JWT_TTL_S, session=enrolment.session)
        svid = await self._issuer.jwt(order, listed)
        await self._issued.record("jwt", svid.id, enrolment, svid.ends_at)
        self.refuse_denied(enrolment)
        return svid

    async def bundle(self) -> TrustBundle:
        """Return what verifies SVIDs of this trust domain now."""
        return await self._issuer.bundle()

    async def check_x509(self, chain: Sequence[bytes]) -> SeenLeaf:
        """Return whom a certificate chain (DER, leaf first) names. Raises IdentityError."""
        bundle = await self.bundle()
        seen = verified_leaf(chain, bundle.roots, now=self._clock.now())
        self.admit_leaf(seen)
        return seen

    def admit_leaf(self, seen: SeenLeaf) -> None:
        """Refuse a certificate, whose chain was verified, that counts no more. Raises IdentityError."""
        if seen.spiffe_id.trust_domain != self.trust_domain:
            raise IdentityError("The certificate is not accepted.", why="Another trust domain.")
        if self._clock.now() >= seen.ends_at:
            raise IdentityError("The certificate is not accepted.", why="It has ended.")
        self._refuse(
            (DeniedKind.SERIAL, seen.serial),
            (DeniedKind.ID, seen.spiffe_id.text),
            live=seen.serial in self._serials or not self._issuer.owns(seen.authority),
        )

    def on_change(self, observer: Callable[[], None]) -> Callable[[], None]:
        """Call `observer` whenever an identity has ended or was denied; return what ends that."""
        self._observers.append(observer)
        return lambda: self._observers.remove(observer)

    async def check_jwt(self, audience: str, token: str) -> SeenToken:
        """Return whom a JWT-SVID names that was made for an audience. Raises IdentityError."""
        bundle = await self.bundle()
        seen = verified_token(
            token, audience, bundle.jwks, domain=self.trust_domain, now=self._clock.now()
        )
        self._refuse(
            (DeniedKind.TOKEN, seen.id),
            (DeniedKind.ID, seen.spiffe_id.text),
            live=seen.session in self._sessions or not self._issuer.owns(seen.authority),
        )
        return seen

    async def revoke(self, named: str, *, reason: str = "", by: str = "") -> Denial:
        """Deny an id (until it is allowed again), the serial number of an SVID, or an agent's name.

        Raises:
            NotFoundError: it names nothing that was issued.
            EngineError: it holds on this node, and the database does not know it.

        """
        now = self._clock.now()
        kind, value, ends_at = self._named(named, now)
        denial = Denial(
            kind=kind,
            value=value,
            at=now,
            ends_at=ends_at,
            reason=plain_text(reason)[:200],
            by=by,
        )
        try:
            await self.denied.keep(denial)
        finally:
            body: dict[str, Json] = {"kind": kind.value, "of": value, "reason": denial.reason}
            await self._emit("svid.revoked", body | {"by": by})
        return denial

    async def allow(self, spiffe_id: str, *, by: str = "") -> None:
        """Let a denied id count again. Raises NotFoundError."""
        await self.denied.lift(DeniedKind.ID, spiffe_id)
        await self._emit("svid.allowed", {"of": spiffe_id, "by": by})
        for enrolment in self._enrolled.values():
            if enrolment.spiffe_id.text == spiffe_id:
                enrolment.stir()

    async def rotate(
        self, *, root: bool = False, root_key: bytes = b"", by: str = ""
    ) -> RotationDone:
        """Rotate the authority; every stream gets a fresh SVID and the new bundle. Raises IdentityError."""
        done = await self._issuer.rotate(root=root, root_key=root_key)
        await self._rotated(done, by)
        return done

    def issued(self) -> Sequence[IssuedLine]:
        """Return what was issued and has not ended, newest first."""
        return [replace(one, denied=self._line_denied(one)) for one in self._issued.lines()]

    def enrolled(self) -> Mapping[SandboxId, Enrolment]:
        """Return the sandboxes that have an identity now."""
        return dict(self._enrolled)

    async def keep(self) -> None:
        """Tend the authority, until cancelled."""
        while True:
            try:
                if await self._issuer.tend():
                    self._renew_all()
            except HiveError as error:
                log.warning("identity.not_tended", extra={"error": error.what})
            await anyio.sleep(TEND_EVERY_S)

    def _enrol(self, sandbox: SandboxId, agent: AgentId, spiffe_id: SpiffeId) -> Enrolment:
        session = self._randomness.token(SESSION_BYTES).hex()
        made = Enrolment(sandbox=sandbox, agent=agent, spiffe_id=spiffe_id, session=session)
        self._enrolled[sandbox] = self._sessions[session] = made
        return made

    def _note_serial(self, enrolment: Enrolment, svid: X509Svid) -> None:
        enrolment.serials[svid.serial] = svid.ends_at
        self._serials[svid.serial] = enrolment
        while len(enrolment.serials) > SERIALS_PER_SANDBOX_MAX:
            oldest, _ = enrolment.serials.popitem(last=False)
            self._serials.pop(oldest, None)

    async def _rotated(self, done: RotationDone, by: str) -> None:
        await self._emit(
            "ca.rotated",
            {
                "what": done.what,
                "generation": done.generation,
                "fingerprint": done.fingerprint,
                "ends_at": done.ends_at.isoformat(),
                "by": by,
            },
        )
        self._renew_all()

    def _renew_all(self) -> None:
        for enrolment in self._enrolled.values():
            enrolment.current = None
            enrolment.stir()

    def _charge(self, enrolment: Enrolment) -> None:
        if not self._quota.take(enrolment.sandbox):
            raise QuotaExceededError(
                "Too many SVIDs were asked for.", fix="Keep those that you have."
            )

    def _named(self, named: str, now: datetime) -> tuple[DeniedKind, str, datetime]:
        for kind, denied in (("x509", DeniedKind.SERIAL), ("jwt", DeniedKind.TOKEN)):
            line = self._issued.get(kind, named)
            if line is not None:
                return denied, named, line.ends_at
        if named.startswith("spiffe://"):
            spiffe_id = SpiffeId(named)
            if spiffe_id.trust_domain == self.trust_domain and spiffe_id.path:
                return DeniedKind.ID, named, now + FOREVER
        raise NotFoundError(
            f"{plain_text(named)[:100]!r} names nothing that was issued here.",
            why="It is neither a serial number that counts now nor an id of this trust domain.",
            fix="hive identity issued     lists them",
        )

    def _heard(self, denials: Sequence[Denial]) -> None:
        ids = {one.value for one in denials if one.kind is DeniedKind.ID}
        serials = {one.value for one in denials if one.kind is DeniedKind.SERIAL}
        for enrolment in tuple(self._enrolled.values()):
            held = enrolment.current
            if enrolment.spiffe_id.text in ids or (held is not None and held.serial in serials):
                enrolment.current = None
                enrolment.stir()
        self._tell()

    def _tell(self) -> None:
        for observer in tuple(self._observers):
            observer()

    def _is_denied(self, svid: X509Svid) -> bool:
        return self.denied.find((DeniedKind.SERIAL, svid.serial)) is not None

    def _line_denied(self, line: IssuedLine) -> bool:
        kind = DeniedKind.SERIAL if line.kind == "x509" else DeniedKind.TOKEN
        found = self.denied.find((kind, line.serial), (DeniedKind.ID, line.spiffe_id))
        return found is not None or line.sandbox not in self._enrolled

    def denies(self, spiffe_id: str) -> bool:
        """Tell whether an id was revoked."""
        return self.denied.find((DeniedKind.ID, spiffe_id)) is not None

    def refuse_denied(self, enrolment: Enrolment) -> None:
        """Raise DeniedError where an identity counts no more."""
        if enrolment.ended:
            raise DeniedError("No identity issued.", why="The sandbox has ended.")
        if self.denied.find((DeniedKind.ID, enrolment.spiffe_id.text)) is not None:
            raise DeniedError("No identity issued.", why="The identity was revoked.")

    def _refuse(self, *names: tuple[DeniedKind, str], live: bool) -> None:
        if self.denied.find(*names) is not None:
            raise DeniedError("The identity is not accepted.", why="It was revoked.")
        if not live:
            raise DeniedError("The identity is not accepted.", why="Its sandbox has ended.")
