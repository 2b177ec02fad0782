"""How a server says no to a caller: 401 with a challenge (RFC 6750, RFC 9449), 403 for a missing scope.

Only words of this package go into a challenge, never what the caller sent.
"""

from typing import Final

from hive_a2a.faults import INSUFFICIENT_SCOPE, UNAUTHENTICATED, WireFault

_STAGE: Final = {"check": "authentication"}


def challenge(word: str, error: str, reason: str, **parameters: str) -> WireFault:
    """Refuse a credential; `word` is the HTTP authentication scheme that would be right."""
    given = {"error": error, "error_description": reason, **parameters}
    line = f"{word} " + ", ".join(f'{name}="{_quoted(value)}"' for name, value in given.items())
    return WireFault(
        UNAUTHENTICATED,
        f"The credential is not accepted: {reason}",
        metadata=dict(_STAGE),
        headers=((b"www-authenticate", line.encode("ascii", "replace")),),
    )


def invalid_token(reason: str, *, word: str = "Bearer") -> WireFault:
    """Refuse a token that is not valid here."""
    return challenge(word, "invalid_token", reason)


def insufficient_scope(needed: frozenset[str]) -> WireFault:
    """Refuse a valid token that may not do this."""
    scope = " ".join(sorted(needed))
    line = f'Bearer error="insufficient_scope", scope="{_quoted(scope)}"'
    return WireFault(
        INSUFFICIENT_SCOPE,
        "The token lacks a scope.",
        metadata=dict(_STAGE),
        headers=((b"www-authenticate", line.encode("ascii", "replace")),),
    )


def shown(header: str) -> tuple[str, str]:
    """Split an Authorization header into its scheme in lower case and its credential."""
    word, _, credential = header.partition(" ")
    return word.lower(), credential.strip(" ")


def _quoted(text: str) -> str:
    kept = "".join(char for char in text if char.isprintable())
    return kept.replace("\\", "\\\\").replace('"', '\\"')
