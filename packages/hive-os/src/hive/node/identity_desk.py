"""Identities as the operator sees and commands them."""

from collections.abc import Sequence
from typing import Final, Protocol, runtime_checkable

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from hive.core.errors import BadInputError, IdentityError
from hive.node.identity import NodeIdentity
from hive.security.identity.certificates import fingerprint
from hive.security.identity.mutual import tls_svid
from hive.security.identity.ports import Denial
from hive.security.roles import acting_operator
from hive.web.identity import (
    BundleView,
    DeniedLine,
    IdentityDesk,
    IdentityHolder,
    IdentityView,
    IssuedSvidLine,
    RevokeOrder,
    RootAnswer,
    RootOrder,
    RotatedAuthority,
    RotateOrder,
    ServiceOrder,
    ServiceSvid,
)

DENIED_SHOWN_MAX: Final = 200
SERVICE_DAYS_MAX: Final = 90


@runtime_checkable
class RootKeeper(Protocol):
    """An authority whose root's key may be taken away."""

    @property
    def has_root_key(self) -> bool:
        """Tell whether it is here."""
        ...

    def root_key_pem(self, passphrase: str) -> bytes:
        """Return it, encrypted. Raises IdentityError."""
        ...

    async def forget_root_key(self) -> None:
        """Destroy it."""
        ...


class NodeIdentities(IdentityDesk):
    """The identities of one node."""

    def __init__(self, identity: NodeIdentity) -> None:
        self._service = identity.service
        self._issuer = identity.issuer
        self._url = identity.url

    async def view(self) -> IdentityView:
        """Tell who vouches for whom."""
        bundle = await self._service.bundle()
        keeper = self._issuer
        holders = [
            IdentityHolder(
                spiffe_id=one.spiffe_id.text,
                sandbox=one.sandbox,
                serial="" if one.current is None else one.current.serial,
                ends_at=None if one.current is None else one.current.ends_at,
            )
            for one in self._service.enrolled().values()
        ]
        return IdentityView(
            trust_domain=bundle.trust_domain,
            issuer=self._url.partition("?")[0],
            roots=[fingerprint(x509.load_der_x509_certificate(one)) for one in bundle.roots],
            root_key_here=isinstance(keeper, RootKeeper) and keeper.has_root_key,
            svid_ttl_s=self._service.ttl_s,
            holders=sorted(holders, key=lambda one: (one.spiffe_id, one.sandbox)),
            denied=[_denied(one) for one in self._service.denied.all()[:DENIED_SHOWN_MAX]],
        )

    async def issued(self) -> Sequence[IssuedSvidLine]:
        """Tell what was issued and has not ended, newest first."""
        return [
            IssuedSvidLine(
                kind=one.kind,
                serial=one.serial,
                spiffe_id=one.spiffe_id,
                sandbox=one.sandbox,
                at=one.at,
                ends_at=one.ends_at,
                denied=one.denied,
            )
            for one in self._service.issued()
        ]

    async def bundle(self) -> BundleView:
        """Tell what verifies SVIDs."""
        bundle = await self._service.bundle()
        roots = map(x509.load_der_x509_certificate, bundle.roots)
        return BundleView(
            trust_domain=bundle.trust_domain,
            roots_pem="".join(one.public_bytes(Encoding.PEM).decode() for one in roots),
            jwks=bundle.jwks.decode(),
            sequence=bundle.sequence,
        )

    async def revoke(self, order: RevokeOrder) -> DeniedLine:
        """Deny an id, a certificate or a token."""
        return _denied(
            await self._service.revoke(order.named, reason=order.reason, by=str(acting_operator()))
        )

    async def allow(self, order: RevokeOrder) -> None:
        """Let a denied id count again."""
        await self._service.allow(order.named, by=str(acting_operator()))

    async def rotate(self, order: RotateOrder) -> RotatedAuthority:
        """Rotate the authority."""
        key = order.root_key.encode()
        done = await self._service.rotate(root=order.root, root_key=key, by=str(acting_operator()))
        return RotatedAuthority(
            what=done.what,
            generation=done.generation,
            ends_at=done.ends_at,
            fingerprint=done.fingerprint,
        )

    async def root(self, order: RootOrder) -> RootAnswer:
        """Hand out or destroy the root's key; both are on the record."""
        keeper = self._issuer
        if not isinstance(keeper, RootKeeper):
            raise IdentityError(
                "This authority keeps no root here.", why=f"HIVE_IDENTITY_URL is {self._url}."
            )
        if order.forget:
            await keeper.forget_root_key()
            await self._service.note("ca.root_key_destroyed", {"by": str(acting_operator())})
            return RootAnswer()
        key = keeper.root_key_pem(order.passphrase)
        await self._service.note("ca.root_key_exported", {"by": str(acting_operator())})
        return RootAnswer(key_pem=key.decode())

    async def service(self, order: ServiceOrder) -> ServiceSvid:
        """Vouch for a server that is no agent."""
        if not 1 <= order.days <= SERVICE_DAYS_MAX:
            raise BadInputError("That is no life for a certificate.", why="1 to 90 days.")
        issued = await self._service.for_service(order.name, order.days * 86_400.0)
        shown = tls_svid(issued, await self._service.bundle())
        return ServiceSvid(
            spiffe_id=shown.spiffe_id,
            chain_pem=shown.chain_pem.decode(),
            key_pem=shown.key_pem.decode(),
            roots_pem=shown.bundle_pem.decode(),
            ends_at=issued.ends_at,
        )


def _denied(one: Denial) -> DeniedLine:
    return DeniedLine(
        kind=one.kind.value,
        value=one.value,
        at=one.at,
        ends_at=one.ends_at,
        reason=one.reason,
        by=one.by,
    )
