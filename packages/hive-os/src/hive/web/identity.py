"""Identities on the operator's wire: `/api/identity`, what was issued, what is denied, and the authority's rotation."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

import msgspec

from hive.web.chapters import Answer, ApiQuestion, Chapter, Lines, RouteKey


class IdentityHolder(msgspec.Struct, frozen=True, kw_only=True):
    """A sandbox that has an identity now. `ends_at` is None until it has asked for a certificate."""

    spiffe_id: str
    sandbox: str
    serial: str = ""
    ends_at: datetime | None = None


class DeniedLine(msgspec.Struct, frozen=True, kw_only=True):
    """Something that counts no more; `kind` is `id`, `serial` or `token`."""

    kind: str
    value: str
    at: datetime
    ends_at: datetime
    reason: str = ""
    by: str = ""


class IdentityView(msgspec.Struct, frozen=True, kw_only=True):
    """Who vouches for the agents of this node, for whom now, and what is denied."""

    trust_domain: str
    issuer: str
    roots: list[str]
    root_key_here: bool
    svid_ttl_s: float
    holders: list[IdentityHolder]
    denied: list[DeniedLine]


class IssuedSvidLine(msgspec.Struct, frozen=True, kw_only=True):
    """One SVID that was issued and has not ended."""

    kind: str
    serial: str
    spiffe_id: str
    sandbox: str
    at: datetime
    ends_at: datetime
    denied: bool


class BundleView(msgspec.Struct, frozen=True, kw_only=True):
    """What others need to verify SVIDs of this trust domain."""

    trust_domain: str
    roots_pem: str
    jwks: str
    sequence: int


class RevokeOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to deny: a SPIFFE id, the serial number of a certificate, or the id of a token."""

    named: str
    reason: str = ""


class RotateOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to rotate; `root_key` is PEM, where the root's key is kept elsewhere."""

    root: bool = False
    root_key: str = ""


class RootOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Hand out the root's key under a passphrase, or destroy it on this node."""

    passphrase: str = ""
    forget: bool = False


class RootAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The root's key, encrypted; empty where it was destroyed."""

    key_pem: str = ""


class RotatedAuthority(msgspec.Struct, frozen=True, kw_only=True):
    """What a rotation made."""

    what: str
    generation: int
    ends_at: datetime
    fingerprint: str


class ServiceOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A server that is no agent, such as a bus, and for how long it is vouched for."""

    name: str
    days: int = 30


class ServiceSvid(msgspec.Struct, frozen=True, kw_only=True):
    """What such a server shows: PEM, the key unlocked."""

    spiffe_id: str
    chain_pem: str
    key_pem: str
    roots_pem: str
    ends_at: datetime

    def __repr__(self) -> str:
        return f"ServiceSvid({self.spiffe_id})"


class IdentityDesk(Protocol):
    """Who keeps the identities."""

    async def view(self) -> IdentityView:
        """Tell who vouches for whom."""
        ...

    async def issued(self) -> Sequence[IssuedSvidLine]:
        """Tell what was issued and has not ended, newest first."""
        ...

    async def bundle(self) -> BundleView:
        """Tell what verifies SVIDs."""
        ...

    async def revoke(self, order: RevokeOrder) -> DeniedLine:
        """Deny. Raises NotFoundError, EngineError."""
        ...

    async def allow(self, order: RevokeOrder) -> None:
        """Let a denied id count again. Raises NotFoundError."""
        ...

    async def rotate(self, order: RotateOrder) -> RotatedAuthority:
        """Rotate the authority. Raises IdentityError."""
        ...

    async def root(self, order: RootOrder) -> RootAnswer:
        """Hand out or destroy the root's key. Raises IdentityError."""
        ...

    async def service(self, order: ServiceOrder) -> ServiceSvid:
        """Vouch for a server that is no agent. Raises IdentityError, InvalidIdError."""
        ...


class IdentityChapter(Chapter):
    """The paths of identities."""

    def __init__(self, desk: IdentityDesk) -> None:
        self._desk = desk
        self.answers: Mapping[RouteKey, Answer] = {
            ("GET", "identity", 0): self._view,
            ("GET", "identity-issued", 0): self._issued,
            ("GET", "identity-bundle", 0): self._bundle,
            ("POST", "identity-revoked", 0): self._revoke,
            ("POST", "identity-allowed", 0): self._allow,
            ("POST", "identity-rotation", 0): self._rotate,
            ("POST", "identity-root", 0): self._root,
            ("POST", "identity-services", 0): self._service,
        }
        self.streams: Mapping[RouteKey, Lines] = {}

    async def _view(self, _question: ApiQuestion) -> object:
        return await self._desk.view()

    async def _issued(self, _question: ApiQuestion) -> object:
        return list(await self._desk.issued())

    async def _bundle(self, _question: ApiQuestion) -> object:
        return await self._desk.bundle()

    async def _revoke(self, question: ApiQuestion) -> object:
        return await self._desk.revoke(question.read(RevokeOrder))

    async def _allow(self, question: ApiQuestion) -> object:
        await self._desk.allow(question.read(RevokeOrder))
        return await self._desk.view()

    async def _rotate(self, question: ApiQuestion) -> object:
        return await self._desk.rotate(question.read(RotateOrder))

    async def _root(self, question: ApiQuestion) -> object:
        return await self._desk.root(question.read(RootOrder))

    async def _service(self, question: ApiQuestion) -> object:
        return await self._desk.service(question.read(ServiceOrder))
