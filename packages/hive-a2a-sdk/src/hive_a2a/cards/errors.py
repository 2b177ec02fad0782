"""Why a card is not taken: one error, and the reasons that a program can tell apart."""

from enum import StrEnum

from hive_a2a.errors import A2AError


class CardFault(StrEnum):
    """What is wrong with a card, a signature on it, or the place that it came from."""

    MALFORMED = "malformed"
    TOO_LARGE = "too-large"
    UNREACHABLE = "unreachable"
    REDIRECTED = "redirected"
    PLAIN_HTTP = "plain-http"
    ELSEWHERE = "elsewhere"
    EMPTY_REQUIRED = "empty-required"
    UNSIGNED = "unsigned"
    STRIPPED = "stripped"
    BAD_SIGNATURE = "bad-signature"
    NOT_COVERED = "not-covered"
    ALGORITHM = "algorithm"
    UNKNOWN_KEY = "unknown-key"
    KEY_CHANGED = "key-changed"
    FOREIGN_KEY_SET = "foreign-key-set"
    CERTIFICATE = "certificate"
    NOISE_STRIPPED = "noise-stripped"
    OLDER = "older"
    STORE = "store"
    KEYS = "keys"


class CardError(A2AError):
    """A card is not taken, or cannot be made; `fault` says why in one word."""

    def __init__(self, fault: CardFault, what: str, *, why: str = "", fix: str = "") -> None:
        super().__init__(what, why=why, fix=fix)
        self.fault = fault


def not_taken(fault: CardFault, why: str, fix: str = "") -> CardError:
    """Say why the card of a peer is not taken."""
    return CardError(fault, "The agent's card is not taken.", why=why, fix=fix)


def malformed(why: str) -> CardError:
    """Say that a card, signature or key is not what its standard wants."""
    return not_taken(
        CardFault.MALFORMED, why, "Ask the owner of the agent to serve a card by the standard."
    )
