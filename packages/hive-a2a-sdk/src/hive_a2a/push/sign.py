"""Notifications that the receiver can check: who sent them, for whom, when, and that nobody changed them.

The standard leaves it to a shared token whether a receiver believes a notification, and whoever reads that
token once can forge for ever. So each delivery carries one more header:

    X-A2A-Notification-Signature: <JWT>     typ `a2a-notification+jwt`, alg EdDSA or ES256, kid of the card's key
    iss     who sends: the agent's URL
    aud     the webhook URL as it was registered
    iat     when it was signed
    jti     one per notification and receiver; the same on every try, so that a second arrival is seen
    sha256  base64url of the hash of the body's bytes

Any JWT library can check all of it but the hash, which is one line more. `verify_notification` checks it here.
"""

import hashlib
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

from hive_a2a.base64url import to_base64url_text
from hive_a2a.clock import MachineClock, WallClock
from hive_a2a.exact_json import read_exact
from hive_a2a.once import OnceFullError, OnceMemory

if TYPE_CHECKING:
    from hive_a2a.cards.sign import SigningKey
    from hive_a2a.identity.jws import CompactToken

SIGNATURE_HEADER: Final = "X-A2A-Notification-Signature"
TOKEN_HEADER: Final = "X-A2A-Notification-Token"  # noqa: S105 - the name of a header
SIGNATURE_TYPE: Final = "a2a-notification+jwt"
AGE_MAX_S: Final = 300.0
SKEW_MAX_S: Final = 30.0
SIGNATURE_MAX_CHARS: Final = 8192
SEEN_MAX: Final = 100_000
_JTI_MAX_CHARS: Final = 128
_TIME_MAX_S: Final = 1 << 53


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationSigner:
    """Signs notifications in the name of an agent.

    `key` is one of those that sign its card (`AgentKeys.signing`), `issuer` the agent's URL.
    """

    key: "SigningKey"
    issuer: str
    clock: WallClock = field(default_factory=MachineClock)

    def sign(self, url: str, body: bytes) -> str:
        """Return the value of the header for one notification to one receiver."""
        head = {
            "alg": str(self.key.public.algorithm),
            "kid": self.key.public.kid,
            "typ": SIGNATURE_TYPE,
        }
        claims = {
            "iss": self.issuer,
            "aud": url,
            "iat": int(self.clock.now().timestamp()),
            "jti": secrets.token_urlsafe(16),
            "sha256": _hash(body),
        }
        signed = f"{_packed(head)}.{_packed(claims)}"
        return f"{signed}.{to_base64url_text(self.key.sign(signed.encode()))}"


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedNotification:
    """A notification that is what its sender signed."""

    issuer: str
    kid: str
    id: str
    signed_at_s: int
    event: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Unverified:
    """Why a notification is not believed."""

    reason: str


class NotificationsSeen(Protocol):
    """Remembers which notifications came already; several receivers may share one."""

    def claim(self, notification_id: str, until_s: float) -> bool:
        """Remember an id until a moment (seconds since 1970); False if it is known, or there is no room."""
        ...


class SeenInMemory:
    """Remembers ids in this process. When full of ids that still count, it refuses new ones."""

    def __init__(self, *, seen_max: int = SEEN_MAX, clock: WallClock | None = None) -> None:
        self._memory = OnceMemory(entries_max=seen_max)
        self._clock = clock or MachineClock()

    def claim(self, notification_id: str, until_s: float) -> bool:
        """Remember an id; False if it is known, or there is no room."""
        key, now_s = notification_id.encode("utf-8", "replace"), self._clock.now().timestamp()
        try:
            return self._memory.first_use(key, until=until_s, now=now_s)
        except OnceFullError:
            return False


def verify_notification(
    headers: Mapping[str, str],
    body: bytes,
    *,
    jwks: Mapping[str, Any],
    url: str,
    seen: NotificationsSeen,
    issuer: str | None = None,
    clock: WallClock | None = None,
) -> VerifiedNotification | Unverified:
    """Tell whether a notification comes from the holder of a key of `jwks`, is new, whole, and for `url`.

    `url` is the webhook URL as it was registered, `jwks` the key set of the agent that was called (of
    its verified card), `issuer` the agent's URL where the key set is shared by several.
    """
    from hive_a2a.identity.jws import BadTokenError, parse_compact

    try:
        token = parse_compact(_header(headers, SIGNATURE_HEADER), bytes_max=SIGNATURE_MAX_CHARS)
    except BadTokenError:
        return Unverified(reason="There is not exactly one signature, or it is not a JWS.")
    head, claims = token.header, token.claims
    if not _signed_by(jwks, token):
        return Unverified(reason="The signature is not one of a notification by a known key.")
    now_s = (clock or MachineClock()).now().timestamp()
    objection = _objection(claims, url, issuer, now_s)
    if objection:
        return Unverified(reason=objection)
    event = _json(body) if claims.get("sha256") == _hash(body) else None
    if event is None:
        return Unverified(reason="The body is not the one that was signed, or no JSON object.")
    if not seen.claim(f"{head['kid']}:{claims['jti']}", claims["iat"] + AGE_MAX_S + SKEW_MAX_S):
        return Unverified(reason="It came before, or too many come.")
    return VerifiedNotification(
        issuer=claims["iss"],
        kid=head["kid"],
        id=claims["jti"],
        signed_at_s=claims["iat"],
        event=event,
    )


def _objection(claims: Mapping[str, Any], url: str, issuer: str | None, now_s: float) -> str:
    """Return what speaks against the claims of a signature that holds."""
    sender, number, at_s = claims.get("iss"), claims.get("jti"), claims.get("iat")
    if not isinstance(sender, str) or (issuer is not None and sender != issuer):
        return "Another agent signed it."
    if claims.get("aud") != url:
        return "It is for another receiver."
    if type(at_s) is not int or not 0 < at_s < _TIME_MAX_S:
        return "It does not say when it was signed."
    if not -SKEW_MAX_S <= now_s - at_s <= AGE_MAX_S:
        return "It was signed too long ago, or in the future."
    if not isinstance(number, str) or not 0 < len(number) <= _JTI_MAX_CHARS:
        return "It has no id."
    return ""


def _signed_by(jwks: Mapping[str, Any], token: "CompactToken") -> bool:
    """Check against the key of that id; the key's own type says which algorithm it is for."""
    head = token.header
    if head.get("typ") != SIGNATURE_TYPE or "crit" in head or "b64" in head:
        return False
    kid = head.get("kid")
    known = [key for key in jwks.get("keys", ()) if isinstance(key, Mapping)]
    keys = [key for key in known if isinstance(kid, str) and key.get("kid") == kid]
    if len(keys) != 1:
        return False
    from hive_a2a.cards.errors import CardError
    from hive_a2a.cards.jwk import read_jwk

    try:
        key = read_jwk(keys[0])
    except CardError:
        return False
    return head.get("alg") == key.algorithm and key.verifies(token.signature, token.signed)


def _header(headers: Mapping[str, str], name: str) -> str:
    """Return a header that stands there once; else nothing."""
    found = [value for key, value in headers.items() if key.lower() == name.lower()]
    return found[0] if len(found) == 1 and len(found[0]) <= SIGNATURE_MAX_CHARS else ""


def _json(data: bytes) -> dict[str, Any] | None:
    try:
        value = read_exact(data)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _packed(value: Mapping[str, Any]) -> str:
    return to_base64url_text(json.dumps(value, separators=(",", ":")).encode())


def _hash(body: bytes) -> str:
    return to_base64url_text(hashlib.sha256(body).digest())
