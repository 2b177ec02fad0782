"""The node's intermediate from an ACME server such as step-ca; the SVIDs are issued here, with it.

    acme:https://ca.example/acme/hive/directory?name=node-1.example&roots=/etc/hive/roots.pem&listen=0.0.0.0:80

ACME proves that this machine answers for `name`; what certificate that earns is decided by the server's template,
which must make it an authority for the trust domain (path length 0, no name but `spiffe://<trust domain>`). The root
never comes near a node. The key of the intermediate is kept sealed, so a restart orders nothing.
"""

import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Final, Self

import anyio
from anyio import to_thread
from cryptography import x509 as certificates
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from hive.core.drivers import query_of
from hive.core.errors import ConfigError, IdentityError
from hive.security.identity.authorities import (
    INTERMEDIATE,
    TOKENS,
    AuthorityShelf,
    KeptAuthority,
)
from hive.security.identity.certificates import (
    CertificateSigner,
    fingerprint,
    new_key,
    verified_leaf,
)
from hive.security.identity.drivers.acme_client import AcmeOrder, ChallengeAddress
from hive.security.identity.jwt_svids import jwt_key_id
from hive.security.identity.minting import Mint, domain_of
from hive.security.identity.ports import (
    IssuerOpening,
    JwtSvid,
    RotationDone,
    SpiffeId,
    SvidOrder,
    TrustBundle,
    X509Svid,
)

TOKEN_KEY_LIFE: Final = timedelta(days=30)
_QUERY: Final = frozenset({"name", "roots", "listen"})


class AcmeAuthority:
    """Issues with an intermediate that an ACME server vouches for."""

    def __init__(self, order: AcmeOrder, roots: tuple[bytes, ...], opening: IssuerOpening) -> None:
        self._order = order
        self._roots = roots
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
        """Open the authority; its intermediate is ordered at the first start.

        Raises:
            ConfigError: the URL lacks something.
            IdentityError: the server gives no authority for this trust domain.

        """
        url, query = opening.url.partition(":")[2].partition("?")[0], query_of(opening.url)
        if (
            not opening.demanded
            or not url.startswith("https://")
            or ({"name", "roots"} - set(query) or set(query) - _QUERY)
        ):
            raise ConfigError(
                "HIVE_IDENTITY_URL=acme: cannot be used.",
                why="It needs an https directory, `name` and `roots`, and HIVE_TRUST_DOMAIN.",
                fix="acme:https://ca.example/acme/hive/directory?name=node.example&roots=/path.pem",
            )
        roots_pem = await to_thread.run_sync(_read, Path(query["roots"]))
        tls = ssl.create_default_context(cadata=roots_pem.decode("ascii"))
        order = AcmeOrder(url, query["name"], _address(query.get("listen", "0.0.0.0:80")), tls)
        roots = tuple(
            one.public_bytes(Encoding.DER)
            for one in certificates.load_pem_x509_certificates(roots_pem)
        )
        authority = cls(order, roots, opening)
        await authority.load()
        yield authority

    async def load(self) -> None:
        """Read what is kept; order what is missing or has ended. Raises IdentityError."""
        now = self._clock.now()
        self._kept = [
            one
            for one in await self._shelf.all()
            if one.ends_at > now
            and (
                one.certificate == self._domain.encode()
                if one.kind == TOKENS
                else domain_of(one.parsed) == self._domain
            )
        ]
        if not self._of(INTERMEDIATE) or not self._of(TOKENS):
            await self.rotate()
        else:
            self._mint = self._minted(self._of(INTERMEDIATE)[-1], self._of(TOKENS))

    @property
    def trust_domain(self) -> str:
        """Return the name of the trust domain."""
        return self._domain

    def owns(self, authority: str) -> bool:
        """Tell whether the key is one of this node; other nodes have intermediates of their own."""
        return authority in {jwt_key_id(one.key) for one in self._kept if one.key is not None}

    async def x509(self, order: SvidOrder) -> X509Svid:
        """Issue an X.509-SVID."""
        return self._ready().x509(order)

    async def jwt(self, order: SvidOrder, audience: Sequence[str]) -> JwtSvid:
        """Issue a JWT-SVID."""
        return self._ready().jwt(order, audience)

    async def bundle(self) -> TrustBundle:
        """Return the roots that were configured, and this node's keys."""
        return self._ready().bundle()

    async def rotate(self, *, root: bool = False, root_key: bytes = b"") -> RotationDone:
        """Order a new intermediate. Raises IdentityError."""
        if root or root_key:
            raise IdentityError("The root is the ACME server's.", fix="Change `roots` in the URL.")
        async with self._changing:
            made, tokens = await self._ordered(), self._next_tokens()
            mint = self._minted(made, [*self._of(TOKENS), tokens])
            self._try(mint)
            await self._shelf.put(made, tokens)
            for kind, one in ((INTERMEDIATE, made), (TOKENS, tokens)):
                kept = [*self._of(kind)[-1:], one]
                self._kept = [old for old in self._kept if old.kind != kind] + kept
            self._mint = mint
            return RotationDone(
                what=INTERMEDIATE,
                generation=made.generation,
                ends_at=made.ends_at,
                fingerprint=fingerprint(made.parsed),
            )

    async def tend(self) -> bool:
        """Order a new intermediate at half of the life of this one."""
        issuing = self._of(INTERMEDIATE)[-1]
        if self._clock.now() < issuing.made_at + (issuing.ends_at - issuing.made_at) / 2:
            return False
        await self.rotate()
        return True

    async def _ordered(self) -> KeptAuthority:
        key = new_key()
        name = certificates.DNSName(self._order.name)
        request = (
            certificates.CertificateSigningRequestBuilder()
            .subject_name(certificates.Name([]))
            .add_extension(certificates.SubjectAlternativeName([name]), critical=True)
            .sign(key, hashes.SHA256())
        )
        chain = await self._order.fetch(request.public_bytes(Encoding.DER))
        try:
            own, *above = certificates.load_pem_x509_certificates(chain)
        except ValueError as error:
            raise IdentityError("The ACME server's certificate cannot be read.") from error
        if own.public_key() != key.public_key():
            raise IdentityError("The ACME server's certificate is for another key.")
        return KeptAuthority(
            kind=INTERMEDIATE,
            generation=self._next(INTERMEDIATE),
            certificate=own.public_bytes(Encoding.DER),
            above=tuple(one.public_bytes(Encoding.DER) for one in above),
            key=key,
            made_at=self._clock.now(),
            ends_at=own.not_valid_after_utc,
        )

    def _next_tokens(self) -> KeptAuthority:
        now = self._clock.now()
        return KeptAuthority(
            kind=TOKENS,
            generation=self._next(TOKENS),
            certificate=self._domain.encode(),
            above=(),
            key=new_key(),
            made_at=now,
            ends_at=now + TOKEN_KEY_LIFE,
        )

    def _next(self, kind: str) -> int:
        return max((one.generation for one in self._of(kind)), default=0) + 1

    def _try(self, mint: Mint) -> None:
        """Issue once and verify it: whether the certificate is an authority shows before anybody relies on it."""
        subject = SpiffeId.of(self._domain, "node", "trial")
        svid = mint.x509(SvidOrder(subject=subject, ttl_s=60.0))
        try:
            verified_leaf(svid.chain, self._roots, now=self._clock.now())
        except IdentityError as error:
            raise IdentityError(
                "What the ACME server gave is no authority for this trust domain.",
                why=error.why,
                fix="Give its provisioner a template: isCA, maxPathLen 0, the trust domain's URI.",
            ) from error

    def _of(self, kind: str) -> list[KeptAuthority]:
        return [one for one in self._kept if one.kind == kind]

    def _ready(self) -> Mint:
        if self._mint is None:
            raise IdentityError("The authority is not open.")
        return self._mint

    def _minted(self, issuing: KeptAuthority, tokens: Sequence[KeptAuthority]) -> Mint:
        if issuing.key is None:
            raise IdentityError("The authority's intermediate has no key.")
        return Mint(
            trust_domain=self._domain,
            signer=CertificateSigner(issuing.parsed, issuing.key),
            above=(issuing.certificate, *issuing.above),
            token_keys=tuple(one.key for one in reversed(tokens[-2:]) if one.key is not None),
            roots=self._roots,
            sequence=tokens[-1].generation,
            clock=self._clock,
            randomness=self._randomness,
        )


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise ConfigError(
            "The roots of HIVE_IDENTITY_URL cannot be read.", why=f"{file}: {error.strerror}"
        ) from error


def _address(text: str) -> ChallengeAddress:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit():
        raise ConfigError("`listen` of HIVE_IDENTITY_URL is no address.", fix="listen=0.0.0.0:80")
    return ChallengeAddress(host, int(port))
