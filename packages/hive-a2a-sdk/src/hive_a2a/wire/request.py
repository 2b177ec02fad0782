"""One request on the wire, before it is a call: its head, who sent it, what it says it speaks."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from a2a.auth.user import User
from a2a.server.context import ServerCallContext

from hive_a2a.asgi import Scope
from hive_a2a.call import Binding, CallerIdentity, RequestHead
from hive_a2a.faults import INVALID_REQUEST, VERSION, WireFault
from hive_a2a.identity.svid import TLS_PEER, TlsPeer
from hive_a2a.sealed.extension import TLS_ID_HEADER

REQUEST_KEY: Final = "hive_a2a.request"
"""Where the official context's `state` holds the `WireRequest`, and an ASGI scope for the official routes."""

NOISE_KEY: Final = "hive_a2a.noise"
URL_KEY: Final = "hive_a2a.url"
"""Where a scope holds the absolute URL that the client used, if whoever split the path knows it."""

V1: Final = "1.0"
V03: Final = "0.3"
_VERSION: Final = re.compile(r"[0-9]{1,4}(\.[0-9]{1,4}){0,2}")
# Two lines of these could be read differently by whoever stands in front.
SINGLE_HEADERS: Final = frozenset(
    {"authorization", "content-type", "content-length", "host", "a2a-version", "dpop"}
)


@dataclass(slots=True, kw_only=True)
class WireRequest:
    """What every binding knows of a request; `fault` is the last one it was refused with."""

    head: RequestHead
    caller: CallerIdentity
    version: str
    extensions: frozenset[str] = frozenset()
    body_bytes: int = 0
    fault: WireFault | None = None
    state: dict[str, Any] = field(default_factory=dict)


class WireUser(User):
    """The caller in the words of the official SDK."""

    def __init__(self, caller: CallerIdentity) -> None:
        self._caller = caller

    @property
    def is_authenticated(self) -> bool:
        """Tell whether somebody proved who calls."""
        return self._caller.known

    @property
    def user_name(self) -> str:
        """Return the caller's name, which owns its tasks."""
        return self._caller.name


def head_of(scope: Scope, binding: Binding, *, public_url: str = "") -> RequestHead:
    """Return what is known of an HTTP request before its body.

    Raises:
        WireFault: a header that may stand once stands twice.

    """
    headers: dict[str, str] = {}
    for key, value in scope["headers"]:
        name = key.decode("latin-1")
        if name in headers:
            if name in SINGLE_HEADERS:
                raise WireFault(INVALID_REQUEST, f"The header {name} stands twice.", status=400)
            headers[name] = f"{headers[name]}, {value.decode('latin-1')}"
        else:
            headers[name] = value.decode("latin-1")
    noise_key, noise_hash = scope.get(NOISE_KEY) or (b"", b"")
    spiffe_id, certificate = _tls_of(scope, headers)
    client = scope.get("client")
    return RequestHead(
        binding=binding,
        http_method=scope["method"],
        url=scope.get(URL_KEY) or _url_of(scope, headers, public_url),
        headers=headers,
        peer_address=client[0] if client else "",
        spiffe_id=spiffe_id,
        certificate_sha256=certificate,
        noise_key=noise_key,
        noise_hash=noise_hash,
        scope=scope,
    )


def _tls_of(scope: Scope, headers: Mapping[str, str]) -> tuple[str, bytes]:
    """Return who is at the other end of TLS, by the type that our own protocols make and no name in the scope."""
    extensions = scope.get("extensions")
    peer = extensions.get(TLS_PEER) if extensions else None
    if not isinstance(peer, TlsPeer):
        return "", b""
    return admitted_tls_id(
        peer, headers, sealed=bool(scope.get(NOISE_KEY))
    ), peer.certificate_sha256


def admitted_tls_id(peer: TlsPeer, headers: Mapping[str, str], *, sealed: bool) -> str:
    """Return the SPIFFE id of a TLS peer where it is the caller's.

    A sealed request may be carried by somebody else, who must not become its caller and the owner of its
    task. So it counts only if what was sealed names it.
    """
    if sealed and headers.get(TLS_ID_HEADER) != peer.spiffe_id:
        return ""
    return peer.spiffe_id


def _url_of(scope: Scope, headers: Mapping[str, str], public_url: str) -> str:
    origin = public_url or f"{scope.get('scheme', 'http')}://{headers.get('host', '')}"
    raw: bytes = scope.get("raw_path") or scope["path"].encode("utf-8", "replace")
    query: bytes = scope.get("query_string", b"")
    url = origin.rstrip("/") + raw.decode("latin-1")
    return f"{url}?{query.decode('latin-1')}" if query else url


def extensions_of(headers: Mapping[str, str], *, old: bool = False) -> frozenset[str]:
    """Return the extensions that a request activates; 0.3 had another name for the header."""
    listed = headers.get("a2a-extensions", "")
    if old and "x-a2a-extensions" in headers:
        listed = f"{listed},{headers['x-a2a-extensions']}"
    if not listed:
        return frozenset()
    return frozenset(one.strip() for one in listed.split(",") if one.strip())


def admit_version(said: str, spoken: str) -> None:
    """Let a request pass that says the version whose words it uses; no version said means 0.3.

    Raises:
        WireFault: it says another one (-32009).

    """
    if said == spoken:
        return
    if not said:
        if spoken == V03:
            return
    elif _VERSION.fullmatch(said) and said.partition(".")[0] == spoken.partition(".")[0]:
        return
    raise WireFault(
        VERSION,
        f"A2A version '{(said or V03)[:32]}' is not supported here. Expected version '{spoken}'.",
    )


def context_of(request: WireRequest, tenant: str) -> ServerCallContext:
    """Return the official context of a request."""
    return ServerCallContext.model_construct(
        state={"headers": request.head.headers, REQUEST_KEY: request},
        user=WireUser(request.caller),
        tenant=tenant,
        requested_extensions=set(request.extensions),
    )
