"""The node's own authority: a root, an intermediate that issues, and a key that signs JWT-SVIDs.

The root signs intermediates only, so its key may be taken away once the first one is made; whoever rotates later
brings it back for that moment. A new root is vouched for by the one before as well (a cross-signed certificate), so
that a verifier that has only the old bundle goes on believing. Of each kind two generations are kept.
"""

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Final, Self

import anyio
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509 import Certificate

from hive.core.errors import ConfigError, IdentityError
from hive.security.identity.authorities import (
    INTERMEDIATE,
    ROOT,
    TOKENS,
    AuthorityShelf,
    KeptAuthority,
)
from hive.security.identity.certificates import (
    CertificateSigner,
    fingerprint,
    new_key,
    self_signed,
    signed_authority,
)
from hive.security.identity.minting import Mint, domain_of, new_serial
from hive.security.identity.ports import (
    IssuerOpening,
    JwtSvid,
    RotationDone,
    SvidOrder,
    TrustBundle,
    X509Svid,
)

log: Final = logging.getLogger(__name__)
ROOT_LIFE: Final = timedelta(days=3650)
INTERMEDIATE_LIFE: Final = timedelta(days=30)
_NO_ROOT_KEY: Final = "The root's key is not on this node."


class LocalAuthority:
    """An authority of this node alone."""

    def __init__(self, opening: IssuerOpening) -> None:
        self._domain = opening.trust_domain
        self._shelf = AuthorityShelf(opening.database, opening.sealed)
        self._clock = opening.clock
        self._randomness = opening.randomness
        self._kept: list[KeptAuthority] = []
        self._changing = anyio.Lock()
        self._mint: Mint | None = None

    @classmethod
    @asynccontextmanager
    async def open(cls, opening: IssuerOpening) -> AsyncIterator[Self]:
        """Open the authority; it is made at the first start."""
        if opening.url.partition(":")[2]:
            raise ConfigError(
                "HIVE_IDENTITY_URL=local-ca: takes nothing more.",
                fix="HIVE_TRUST_DOMAIN names the trust domain.",
            )
        authority = cls(opening)
        await authority.load()
        yield authority

    async def load(self) -> None:
        """Read what is kept; make what is missing. Raises IdentityError."""
        self._kept = [one for one in await self._shelf.all() if _names(one, self._domain)]
        if not self._of(ROOT) or not self._of(INTERMEDIATE) or not self._of(TOKENS):
            await self._begin()
        self._mint = self._minted()

    @property
    def trust_domain(self) -> str:
        """Return the name of the trust domain."""
        return self._domain

    def owns(self, authority: str) -> bool:
        """Tell that nobody else signs for this trust domain."""
        return True

    @property
    def has_root_key(self) -> bool:
        """Tell whether the key of the newest root is on this node."""
        return self._of(ROOT)[-1].key is not None

    async def x509(self, order: SvidOrder) -> X509Svid:
        """Issue an X.509-SVID."""
        return self._ready().x509(order)

    async def jwt(self, order: SvidOrder, audience: Sequence[str]) -> JwtSvid:
        """Issue a JWT-SVID."""
        return self._ready().jwt(order, audience)

    async def bundle(self) -> TrustBundle:
        """Return the roots and the keys that count."""
        return self._ready().bundle()

    async def rotate(self, *, root: bool = False, root_key: bytes = b"") -> RotationDone:
        """Make a new intermediate and a new signing key, with `root` a new root as well.

        Raises:
            IdentityError: the key of the root is not here, or the one that was brought is another's.

        """
        async with self._changing:
            above = self._of(ROOT)[-1]
            signer = CertificateSigner(above.parsed, self._root_key(above, root_key))
            made: list[KeptAuthority] = []
            if root:
                above = self._next_root(signer)
                made.append(above)
                assert above.key is not None  # noqa: S101 - it was just made
                signer = CertificateSigner(above.parsed, above.key)
            issuing = self._next_intermediate(signer, above)
            made += [issuing, self._next_tokens()]
            await self._shelf.put(*made)
            for one in made:
                self._kept.append(one)
                self._drop_old(one.kind)
            self._mint = self._minted()
            shown = above if root else issuing
            return RotationDone(
                what=ROOT if root else INTERMEDIATE,
                generation=shown.generation,
                ends_at=shown.ends_at,
                fingerprint=fingerprint(shown.parsed),
            )

    async def tend(self) -> bool:
        """Rotate an intermediate that is past half of its life, if the root's key is here."""
        issuing = self._of(INTERMEDIATE)[-1]
        if self._clock.now() < issuing.made_at + (issuing.ends_at - issuing.made_at) / 2:
            return False
        if not self.has_root_key:
            log.warning("identity.rotation_is_due", extra={"ends_at": str(issuing.ends_at)})
            return False
        await self.rotate()
        return True

    def root_key_pem(self, passphrase: str) -> bytes:
        """Return the root's key for keeping elsewhere, encrypted under a passphrase. Raises IdentityError."""
        key = self._of(ROOT)[-1].key
        if key is None:
            raise IdentityError(_NO_ROOT_KEY, why="It was taken away before.")
        if not passphrase:
            raise IdentityError("The root's key leaves this node encrypted or not at all.")
        encryption = BestAvailableEncryption(passphrase.encode())
        return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)

    async def forget_root_key(self) -> None:
        """Destroy the root's key on this node; what it signed goes on until it ends."""
        async with self._changing:
            newest = self._of(ROOT)[-1]
            for one in self._of(ROOT):
                await self._shelf.forget_key(ROOT, one.generation)
            await self.load()
            log.info("identity.root_key_gone", extra={"generation": newest.generation})

    def _ready(self) -> Mint:
        if self._mint is None:
            raise IdentityError("The authority is not open.")
        return self._mint

    def _of(self, kind: str) -> list[KeptAuthority]:
        return [one for one in self._kept if one.kind == kind]

    def _drop_old(self, kind: str) -> None:
        kept = self._of(kind)[-2:]
        self._kept = [one for one in self._kept if one.kind != kind or one in kept]

    async def _begin(self) -> None:
        """Make the first of each kind; a changed trust domain begins anew, above the numbers of the old one."""
        taken = max((one.generation for one in await self._shelf.all()), default=0)
        now, key = self._clock.now(), new_key()
        certificate = self_signed(
            self._domain, key, serial=new_serial(self._randomness), now=now, life=ROOT_LIFE
        )
        root = self._made(ROOT, taken + 1, certificate, (), key)
        self._kept = [root]
        issuing = self._next_intermediate(CertificateSigner(certificate, key), root)
        made = (root, issuing, self._next_tokens())
        await self._shelf.put(*made, keeps=1)
        self._kept = list(made)

    def _next_root(self, before: CertificateSigner) -> KeptAuthority:
        now, key = self._clock.now(), new_key()
        certificate = self_signed(
            self._domain, key, serial=new_serial(self._randomness), now=now, life=ROOT_LIFE
        )
        crossed = signed_authority(
            self._domain,
            key.public_key(),
            before,
            serial=new_serial(self._randomness),
            now=now,
            life=ROOT_LIFE,
            depth=1,
        )
        above = (crossed.public_bytes(Encoding.DER),)
        return self._made(ROOT, self._next(ROOT), certificate, above, key)

    def _next_intermediate(self, signer: CertificateSigner, root: KeptAuthority) -> KeptAuthority:
        key = new_key()
        certificate = signed_authority(
            self._domain,
            key.public_key(),
            signer,
            serial=new_serial(self._randomness),
            now=self._clock.now(),
            life=INTERMEDIATE_LIFE,
            depth=0,
        )
        return self._made(INTERMEDIATE, self._next(INTERMEDIATE), certificate, root.above, key)

    def _next_tokens(self) -> KeptAuthority:
        now = self._clock.now()
        return KeptAuthority(
            kind=TOKENS,
            generation=self._next(TOKENS),
            certificate=self._domain.encode(),
            above=(),
            key=new_key(),
            made_at=now,
            ends_at=now + INTERMEDIATE_LIFE,
        )

    def _next(self, kind: str) -> int:
        return max((one.generation for one in self._of(kind) or self._of(ROOT)), default=0) + 1

    def _made(
        self,
        kind: str,
        generation: int,
        certificate: Certificate,
        above: tuple[bytes, ...],
        key: EllipticCurvePrivateKey,
    ) -> KeptAuthority:
        return KeptAuthority(
            kind=kind,
            generation=generation,
            certificate=certificate.public_bytes(Encoding.DER),
            above=above,
            key=key,
            made_at=self._clock.now(),
            ends_at=certificate.not_valid_after_utc,
        )

    def _minted(self) -> Mint:
        issuing = self._of(INTERMEDIATE)[-1]
        if issuing.key is None:
            raise IdentityError("The authority's intermediate has no key.")
        tokens = reversed(self._of(TOKENS))
        return Mint(
            trust_domain=self._domain,
            signer=CertificateSigner(issuing.parsed, issuing.key),
            above=(issuing.certificate, *issuing.above),
            token_keys=tuple(one.key for one in tokens if one.key is not None),
            roots=tuple(one.certificate for one in reversed(self._of(ROOT))),
            sequence=self._of(TOKENS)[-1].generation,
            clock=self._clock,
            randomness=self._randomness,
        )

    def _root_key(self, root: KeptAuthority, brought: bytes) -> EllipticCurvePrivateKey:
        if not brought:
            if root.key is None:
                raise IdentityError(
                    _NO_ROOT_KEY,
                    why="It was taken away, and a rotation needs it for a moment.",
                    fix="hive identity rotate --root-key FILE",
                )
            return root.key
        try:
            key = load_pem_private_key(brought, None)
        except (ValueError, TypeError):
            raise IdentityError(
                "The root's key cannot be read.", fix="It needs PEM, without a passphrase."
            ) from None
        own = root.parsed.public_key()
        if not isinstance(key, EllipticCurvePrivateKey) or key.public_key() != own:
            raise IdentityError("That is not the key of this root.")
        return key


def _names(one: KeptAuthority, domain: str) -> bool:
    if one.kind == TOKENS:
        return one.certificate == domain.encode()
    return domain_of(one.parsed) == domain
