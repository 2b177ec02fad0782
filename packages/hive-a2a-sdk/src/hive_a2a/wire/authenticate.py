"""Who calls, found out before the body is read; and what is said to a caller whom nobody knows."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from hive_a2a.call import NOBODY, CallerIdentity, RequestHead
from hive_a2a.faults import UNAUTHENTICATED, WireFault
from hive_a2a.ports import Authenticator

NOISE_SCHEME: Final = "noise"
NOISE_CLAIM: Final = "hive_a2a.noise"
"""Where a caller's claims hold its Noise key (hex), if it showed one beside another credential."""
_REALM: Final = 'realm="a2a"'


async def identify(head: RequestHead, authenticators: Sequence[Authenticator]) -> CallerIdentity:
    """Return who calls: the first that an authenticator knows, else nobody.

    Anybody can make a Noise key, so a key alone names a caller only where nothing else is asked for: it must not
    stand for the credential that an authenticator wants.

    Raises:
        WireFault: what is shown is not valid (401).

    """
    for one in authenticators:
        found = await one.identify(head)
        if found is not None:
            if head.noise_key:
                return replace(found, claims={**found.claims, NOISE_CLAIM: head.noise_key.hex()})
            return found
    if head.noise_key and not authenticators:
        return CallerIdentity(name=f"{NOISE_SCHEME}:{head.noise_key.hex()}", scheme=NOISE_SCHEME)
    return NOBODY


def challenge_of(authenticators: Sequence[Authenticator]) -> bytes:
    """Return what a caller without a credential is asked for (`WWW-Authenticate`)."""
    words = dict.fromkeys(_word_of(one.card_scheme()) for one in authenticators)
    return ", ".join(words or (f"Bearer {_REALM}",)).encode("ascii", "replace")


def unauthenticated(
    message: str = "Say who you are: this agent serves nobody unknown.",
) -> WireFault:
    """Refuse a caller who showed nothing."""
    return WireFault(UNAUTHENTICATED, message, metadata={"check": "authentication"})


def _word_of(scheme: dict[str, Any]) -> str:
    if "httpAuthSecurityScheme" in scheme:
        named = str(scheme["httpAuthSecurityScheme"].get("scheme", "Bearer"))
        word = "".join(char for char in named if char.isalnum() or char == "-") or "Bearer"
        return f"{word[:1].upper()}{word[1:]} {_REALM}"
    if "apiKeySecurityScheme" in scheme:
        return f"ApiKey {_REALM}"
    if "mtlsSecurityScheme" in scheme:
        return f"MutualTLS {_REALM}"
    return f"Bearer {_REALM}"
