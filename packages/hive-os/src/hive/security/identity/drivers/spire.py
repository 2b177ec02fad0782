"""SPIRE instead of the node's own authority, by URL: `spire:/path/agent.sock?admin=/path/admin.sock`.

The node attests the sandbox, as ever, and asks SPIRE on its behalf (the Delegated Identity API, on the agent's admin
socket) with one selector, `hive:agent:<name>`; SPIRE's own registration entries decide what that is worth. The node
itself is a workload of SPIRE like any other: its id is what the agent's `authorized_delegates` names. Bundles, lives
and rotation are SPIRE's.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Final, Self

import anyio
from cryptography import x509
from grpclib.client import Channel, UnaryStreamMethod, UnaryUnaryMethod
from grpclib.const import Status
from grpclib.exceptions import GRPCError, StreamTerminatedError

from hive.core.drivers import query_of
from hive.core.errors import ConfigError, DeniedError, IdentityError
from hive.security.identity.drivers.spire_messages import PACKAGE, SPIRE
from hive.security.identity.ports import (
    IssuerOpening,
    JwtSvid,
    RotationDone,
    SpiffeId,
    SvidOrder,
    TrustBundle,
    X509Svid,
)
from hive.security.identity.workload.messages import WORKLOAD
from hive_a2a.errors import A2AError
from hive_a2a.identity.jws import parse_compact, seconds
from hive_a2a.identity.svid import BadSvidError, sole_id

ANSWER_TIMEOUT_S: Final = 10.0
BUNDLE_FRESH_S: Final = 5.0
SELECTOR: Final = "hive"
_METADATA: Final = {"workload.spiffe.io": "true"}
_WORKLOAD: Final = "/SpiffeWorkloadAPI"
_DELEGATED: Final = f"/{PACKAGE}.DelegatedIdentity"


class SpireAuthority:
    """What a SPIRE agent says."""

    def __init__(self, workload: Channel, admin: Channel | None, opening: IssuerOpening) -> None:
        self._workload = workload
        self._admin = admin
        self._clock = opening.clock
        self._domain = ""
        self._last: TrustBundle | None = None
        self._sequence = 0
        self._heard_s = 0.0

    @classmethod
    @asynccontextmanager
    async def open(cls, opening: IssuerOpening) -> AsyncIterator[Self]:
        """Connect to the agent and learn the trust domain of this node.

        Raises:
            ConfigError: the URL cannot be used, or SPIRE's trust domain is another than the demanded.
            IdentityError: the agent does not answer, or has no entry for this node.

        """
        query = query_of(opening.url)
        path = _path(opening.url.partition(":")[2].partition("?")[0])
        admin = _path(query["admin"]) if "admin" in query else ""
        if not path or set(query) - {"admin"}:
            raise ConfigError(
                "HIVE_IDENTITY_URL names no SPIRE agent.",
                fix="spire:/run/spire/agent.sock?admin=/run/spire/admin.sock",
            )
        workload = Channel(path=path)
        delegated = Channel(path=admin) if admin else None
        try:
            authority = cls(workload, delegated, opening)
            await authority.begin(opening.trust_domain if opening.demanded else "")
            yield authority
        finally:
            workload.close()
            if delegated is not None:
                delegated.close()

    async def begin(self, demanded: str) -> None:
        """Learn who this node is. Raises ConfigError, IdentityError."""
        own = await self._own()
        self._domain = own.spiffe_id.trust_domain
        if demanded and demanded != self._domain:
            raise ConfigError(
                "HIVE_TRUST_DOMAIN is not SPIRE's.",
                why=f"SPIRE says {self._domain}, the setting {demanded}.",
                fix="Leave HIVE_TRUST_DOMAIN out.",
            )

    @property
    def trust_domain(self) -> str:
        """Return the name of the trust domain."""
        return self._domain

    def owns(self, authority: str) -> bool:
        """Tell that others are signed for by the same keys."""
        return False

    async def x509(self, order: SvidOrder) -> X509Svid:
        """Get an X.509-SVID for a sandbox, or for this node."""
        if order.subject.path.startswith("/node/"):
            return await self._own()
        request = SPIRE["SubscribeToX509SVIDsRequest"]()
        _select(request, order.subject)
        answer = await self._first(self._delegate(), f"{_DELEGATED}/SubscribeToX509SVIDs",
                                   request, SPIRE["SubscribeToX509SVIDsResponse"])  # fmt: skip
        for one in answer.x509_svids:
            if f"spiffe://{one.x509_svid.id.trust_domain}{one.x509_svid.id.path}" == (
                order.subject.text
            ):
                return _svid(tuple(one.x509_svid.cert_chain), one.x509_svid_key)
        raise _no_entry(order.subject)

    async def jwt(self, order: SvidOrder, audience: Sequence[str]) -> JwtSvid:
        """Get a JWT-SVID for a sandbox."""
        request = SPIRE["FetchJWTSVIDsRequest"](audience=list(audience))
        _select(request, order.subject)
        method: UnaryUnaryMethod[Any, Any] = UnaryUnaryMethod(
            self._delegate(),
            f"{_DELEGATED}/FetchJWTSVIDs",
            SPIRE["FetchJWTSVIDsRequest"],
            SPIRE["FetchJWTSVIDsResponse"],
        )
        answer = await _asked(lambda: method(request, timeout=ANSWER_TIMEOUT_S))
        for one in answer.svids:
            if f"spiffe://{one.id.trust_domain}{one.id.path}" == order.subject.text:
                return _token(order.subject, one.token)
        raise _no_entry(order.subject)

    async def bundle(self) -> TrustBundle:
        """Return what verifies SVIDs now, heard seconds ago at most, or last where SPIRE is away."""
        now_s = self._clock.monotonic()
        if self._last is not None and now_s < self._heard_s + BUNDLE_FRESH_S:
            return self._last
        return await self._refreshed(now_s)

    async def _refreshed(self, now_s: float) -> TrustBundle:
        try:
            fresh = await self._bundle()
        except IdentityError:
            if self._last is None:
                raise
            return self._last
        self._heard_s = now_s
        if self._last is None or (fresh.roots, fresh.jwks) != (self._last.roots, self._last.jwks):
            self._last = fresh
        return self._last

    async def rotate(self, *, root: bool = False, root_key: bytes = b"") -> RotationDone:
        """Refuse: SPIRE rotates its own."""
        raise IdentityError(
            "SPIRE rotates its own authority.", fix="spire-server localauthority x509 prepare"
        )

    async def tend(self) -> bool:
        """Tell whether SPIRE has another bundle than before."""
        before = self._last
        return await self._refreshed(self._clock.monotonic()) is not before

    async def _bundle(self) -> TrustBundle:
        domain = f"spiffe://{self._domain}"
        certificates, keys = [await self._bundles(kind) for kind in ("X509", "JWT")]
        roots = certificates.bundles.get(domain, b"")
        jwks = keys.bundles.get(domain, b'{"keys":[]}')
        self._sequence += 1
        return TrustBundle(
            trust_domain=self._domain, roots=_split(roots), jwks=jwks, sequence=self._sequence
        )

    async def _bundles(self, kind: str) -> Any:  # noqa: ANN401
        return await self._first(
            self._workload,
            f"{_WORKLOAD}/Fetch{kind}Bundles",
            WORKLOAD[f"{kind}BundlesRequest"](),
            WORKLOAD[f"{kind}BundlesResponse"],
        )

    async def _own(self) -> X509Svid:
        answer = await self._first(
            self._workload,
            f"{_WORKLOAD}/FetchX509SVID",
            WORKLOAD["X509SVIDRequest"](),
            WORKLOAD["X509SVIDResponse"],
        )
        if not answer.svids:
            raise IdentityError("SPIRE has no entry for this node.")
        first = answer.svids[0]
        return _svid(_split(first.x509_svid), first.x509_svid_key)

    def _delegate(self) -> Channel:
        if self._admin is None:
            raise IdentityError(
                "SPIRE cannot be asked for agents.",
                why="HIVE_IDENTITY_URL names no admin socket.",
                fix="spire:/run/spire/agent.sock?admin=/run/spire/admin.sock",
            )
        return self._admin

    async def _first(self, channel: Channel, path: str, request: Any, kind: Any) -> Any:  # noqa: ANN401
        method: UnaryStreamMethod[Any, Any] = UnaryStreamMethod(channel, path, type(request), kind)

        async def ask() -> Any:  # noqa: ANN401
            async with method.open(metadata=_METADATA) as stream:
                await stream.send_message(request, end=True)
                message = await stream.recv_message()
                await stream.cancel()
                return message

        message = await _asked(ask)
        if message is None:
            raise IdentityError("SPIRE ended the answer before it began.")
        return message


async def _asked(question: Callable[[], Any]) -> Any:  # noqa: ANN401
    try:
        with anyio.fail_after(ANSWER_TIMEOUT_S):
            return await question()
    except GRPCError as error:
        denied = error.status in (Status.PERMISSION_DENIED, Status.UNAUTHENTICATED)
        raise IdentityError(
            "SPIRE refuses." if denied else "SPIRE does not answer.",
            why=f"{error.status.name}: {error.message}",
            fix="Register the entry, and name this node's id in authorized_delegates."
            if denied
            else "Is the SPIRE agent up?",
        ) from error
    except (OSError, TimeoutError, StreamTerminatedError) as error:
        raise IdentityError(
            "The SPIRE agent cannot be reached.", why=str(error), fix="Check HIVE_IDENTITY_URL."
        ) from error


def _select(request: Any, subject: SpiffeId) -> None:  # noqa: ANN401
    request.selectors.add(type=SELECTOR, value=subject.path.removeprefix("/").replace("/", ":"))


def _svid(chain: tuple[bytes, ...], key: bytes) -> X509Svid:
    try:
        leaf = x509.load_der_x509_certificate(chain[0])
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        found = sole_id(names.get_values_for_type(x509.UniformResourceIdentifier))
    except (ValueError, IndexError, BadSvidError, x509.ExtensionNotFound) as error:
        raise IdentityError("SPIRE sent what is not an SVID.") from error
    return X509Svid(
        spiffe_id=SpiffeId(found),
        chain=chain,
        key=key,
        serial=f"{leaf.serial_number:x}",
        starts_at=leaf.not_valid_before_utc,
        ends_at=leaf.not_valid_after_utc,
    )


def _token(subject: SpiffeId, text: str) -> JwtSvid:
    try:
        claims = parse_compact(text).claims
        ends_at = datetime.fromtimestamp(seconds(claims.get("exp")), UTC)
    except A2AError as error:
        raise IdentityError("SPIRE sent what is not a token.") from error
    return JwtSvid(
        spiffe_id=subject, token=text, id=str(claims.get("jti", "")) or text[-32:], ends_at=ends_at
    )


def _split(data: bytes) -> tuple[bytes, ...]:
    """Cut certificates that stand one behind the other, as the Workload API writes them."""
    found, at = [], 0
    while at + 4 <= len(data):
        size = data[at + 1]
        head = 2
        if size & 0x80:
            head = 2 + (size & 0x7F)
            size = int.from_bytes(data[at + 2 : at + head], "big")
        found.append(data[at : at + head + size])
        at += head + size
    return tuple(found)


def _path(text: str) -> str:
    return text.removeprefix("unix://").removeprefix("unix:")


def _no_entry(subject: SpiffeId) -> DeniedError:
    selector = subject.path.removeprefix("/").replace("/", ":")
    return DeniedError(
        "SPIRE has no entry for this agent.",
        why=f"Nothing is registered for the selector {SELECTOR}:{selector} as {subject}.",
        fix=f"spire-server entry create -spiffeID {subject} -selector {SELECTOR}:{selector} "
        "-parentID ...",
    )
