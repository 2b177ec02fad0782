"""A token that is bound to its holder (RFC 7800) is good only in that holder's hands.

Known bindings are a key (`jkt`, RFC 9449) and a TLS client certificate (`x5t#S256`, RFC 8705). A binding of
another kind cannot be checked, so such a token is refused and not taken for a bearer token.
"""

import hmac
from collections.abc import Mapping
from typing import Any, Final

from hive_a2a.base64url import to_base64url_text
from hive_a2a.call import RequestHead
from hive_a2a.identity.challenge import invalid_token
from hive_a2a.identity.dpop import DpopVerifier

_KNOWN: Final = frozenset({"jkt", "x5t#S256"})


class HolderCheck:
    """Checks the holder of a verified token; `required` refuses tokens that are bound to nobody."""

    def __init__(self, *, dpop: DpopVerifier | None = None, required: bool = False) -> None:
        self._dpop = dpop
        self._required = required

    async def check(
        self, head: RequestHead, word: str, token: str, claims: Mapping[str, Any]
    ) -> None:
        """Check that whoever sent the request holds what the token is bound to.

        `word` is the authentication scheme it came with: `bearer` or `dpop`.

        Raises:
            WireFault: they do not, or it cannot be told (401).

        """
        bound = claims.get("cnf")
        if bound is None:
            if self._required or word == "dpop":
                raise invalid_token("The token is not bound to its holder.", word=self._word)
            return
        if not isinstance(bound, Mapping) or not bound or not set(bound) <= _KNOWN:
            raise invalid_token("The token is bound in a way that is not known here.")
        if "x5t#S256" in bound:
            _check_certificate(head, bound["x5t#S256"])
        if "jkt" in bound:
            await self._check_key(head, word, token, bound["jkt"])
        elif word == "dpop":
            raise invalid_token("The token is not bound to a key.", word=self._word)

    async def _check_key(self, head: RequestHead, word: str, token: str, jkt: object) -> None:
        if self._dpop is None or word != "dpop" or not isinstance(jkt, str):
            raise invalid_token(
                "The token is bound to a key; a DPoP proof is needed.", word=self._word
            )
        await self._dpop.verify(head, token, jkt)

    @property
    def _word(self) -> str:
        return "Bearer" if self._dpop is None else "DPoP"


def _check_certificate(head: RequestHead, expected: object) -> None:
    shown = to_base64url_text(head.certificate_sha256).encode()
    named = expected.encode("utf-8", "replace") if isinstance(expected, str) else b""
    if not head.certificate_sha256 or not hmac.compare_digest(shown, named):
        raise invalid_token("The token is bound to another TLS certificate.")
