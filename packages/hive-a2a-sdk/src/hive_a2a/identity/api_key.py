"""Secrets that a server knows by their SHA-256 only: API keys in a header, and fixed bearer words.

Every known hash is compared for every key that comes, each in constant time, so the time tells nothing. Make
keys of 32 random bytes (`new_api_key`): a hash without salt does not protect a word that can be guessed.
"""

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from typing import Any, Final

from hive_a2a.call import CallerIdentity, RequestHead
from hive_a2a.errors import A2AError
from hive_a2a.identity.challenge import challenge, invalid_token, shown

KEY_CHARS_MAX: Final = 512
KEYS_KNOWN_MAX: Final = 10_000


def new_api_key() -> tuple[str, str]:
    """Make a key; return it for the client, and its SHA-256 in hex for the server."""
    key = secrets.token_urlsafe(32)
    return key, hashlib.sha256(key.encode()).hexdigest()


class ApiKeys:
    """Accepts keys in a header; `known` maps the caller's name to the SHA-256 of the key, in hex."""

    def __init__(
        self, known: Mapping[str, str], *, header: str = "X-API-Key", scheme: str = "apiKey"
    ) -> None:
        self._known = _KnownSecrets(known)
        self._header = header
        self._scheme = scheme

    @property
    def scheme(self) -> str:
        """Return the name of its security scheme in the card."""
        return self._scheme

    def card_scheme(self) -> dict[str, Any]:
        """Return which header the key goes into."""
        return {"apiKeySecurityScheme": {"location": "header", "name": self._header}}

    async def identify(self, head: RequestHead) -> CallerIdentity | None:
        """Return whose key it is; None without a key.

        Raises:
            WireFault: the key is not known (401).

        """
        key = head.headers.get(self._header.lower())
        if key is None:
            return None
        name = self._known.owner(key)
        if name is None:
            raise challenge("ApiKey", "invalid_key", "The key is not known.", header=self._header)
        return CallerIdentity(name=f"key:{name}", scheme=self._scheme)


class StaticBearer:
    """Accepts fixed bearer words; `known` maps the caller's name to the SHA-256 of the word, in hex."""

    def __init__(self, known: Mapping[str, str], *, scheme: str = "bearer") -> None:
        self._known = _KnownSecrets(known)
        self._scheme = scheme

    @property
    def scheme(self) -> str:
        """Return the name of its security scheme in the card."""
        return self._scheme

    def card_scheme(self) -> dict[str, Any]:
        """Return a bearer scheme."""
        return {"httpAuthSecurityScheme": {"scheme": "Bearer"}}

    async def identify(self, head: RequestHead) -> CallerIdentity | None:
        """Return whose word it is; None without one.

        Raises:
            WireFault: the word is not known (401).

        """
        word, token = shown(head.headers.get("authorization", ""))
        if word != "bearer":
            return None
        name = self._known.owner(token)
        if name is None:
            raise invalid_token("The token is not known.")
        return CallerIdentity(name=f"static:{name}", scheme=self._scheme)


class _KnownSecrets:
    def __init__(self, known: Mapping[str, str]) -> None:
        try:
            self._hashes = [(name, bytes.fromhex(digest)) for name, digest in known.items()]
        except ValueError:
            self._hashes = []
        sound = all(name and len(digest) == 32 for name, digest in self._hashes)
        if not self._hashes or not sound or len(self._hashes) > KEYS_KNOWN_MAX:
            raise A2AError(
                "The known keys cannot be used.",
                why="Each needs a name and a SHA-256 in hex (64 digits), at most "
                f"{KEYS_KNOWN_MAX} of them.",
                fix="Make a key with new_api_key() and give the server its second value.",
            )

    def owner(self, secret: str) -> str | None:
        if not secret or len(secret) > KEY_CHARS_MAX:
            return None
        shown_hash = hashlib.sha256(secret.encode("utf-8", "replace")).digest()
        owners = [name for name, known in self._hashes if hmac.compare_digest(known, shown_hash)]
        return owners[0] if owners else None
