"""What a server insists on. `Policy.secure()` is the default; every weakening is a word that shows.

A stage that is switched off is listed in the card (extension `POLICY_URI`) and in every audit entry, so
nobody can be told "secure" by a server that is not.
"""

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from hive_a2a.ports import Stage

POLICY_URI: Final = "urn:hive-a2a:policy:1"


class Strangers(StrEnum):
    """What a caller may do who shows nothing.

    REFUSED: nothing but read the card. BEGIN: send a message and follow its stream, never read, list,
    change or subscribe to a task. SHARED: everything, as one owner that all strangers share: what the
    official SDK does.
    """

    REFUSED = "refused"
    BEGIN = "begin"
    SHARED = "shared"


class Sealing(StrEnum):
    """Whether requests are sealed end to end: REQUIRED, OFFERED to those who know it, or OFF."""

    REQUIRED = "required"
    OFFERED = "offered"
    OFF = "off"


@dataclass(frozen=True, slots=True, kw_only=True)
class WireLimits:
    """How much a request may be.

    Sizes are of what arrives; a sealed body is counted sealed, and its depth after it is opened.
    `handshakes_per_s` and `handshakes_burst` are those of Noise from one address (the /64 of an IPv6
    address), which cost work before anybody is known. `head_timeout_s` bounds the headers, `body_timeout_s` the whole body, `send_timeout_s` one write to a
    client that does not read.
    """

    body_bytes: int = 4 << 20
    depth: int = 64
    head_timeout_s: float = 10.0
    body_timeout_s: float = 30.0
    send_timeout_s: float = 30.0
    requests_open_max: int = 1000
    requests_open_per_caller_max: int = 256
    connections_max: int = 2000
    handshakes_per_s: float = 50.0
    handshakes_burst: int = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimits:
    """Token buckets: `per_s` refills, `burst` is their size. One bucket a caller, and one a skill of it."""

    per_s: float = 50.0
    burst: int = 100
    stranger_per_s: float = 5.0
    stranger_burst: int = 10
    buckets_max: int = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerLimits:
    """A skill whose handler fails `failures` times in a row rests `rest_s`, then lets `probes` calls try."""

    failures: int = 5
    rest_s: float = 10.0
    probes: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class PushLimits:
    """Where push notifications may go and how long they are tried; `private` lets them into this network."""

    private: bool = False
    tries_max: int = 3
    timeout_s: float = 10.0
    configs_per_task_max: int = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What a server insists on; make one with `secure()` or `open()`, and change it with `replace`.

    `warrants_required`: a call without a warrant is refused; else one that is shown must still be valid.
    `off`: the stages that are switched off, each by an explicit word.
    """

    sealing: Sealing = Sealing.OFFERED
    strangers: Strangers = Strangers.REFUSED
    limits: WireLimits = field(default_factory=WireLimits)
    rate: RateLimits = field(default_factory=RateLimits)
    breaker: BreakerLimits = field(default_factory=BreakerLimits)
    push: PushLimits = field(default_factory=PushLimits)
    warrants_required: bool = False
    off: frozenset[Stage] = frozenset()

    @classmethod
    def secure(cls) -> "Policy":
        """Return the default: every stage on, strangers refused, sealing offered to those who know it."""
        return cls()

    @classmethod
    def open(cls) -> "Policy":
        """Return what the standard's own suites expect: anybody may call, within the limits.

        Strangers share their tasks, rates are high, push may go into this network. For tests and for
        agents behind another gate; it shows in the card.
        """
        return cls(
            strangers=Strangers.SHARED,
            rate=RateLimits(
                per_s=10_000, burst=10_000, stranger_per_s=10_000, stranger_burst=10_000
            ),
            push=PushLimits(private=True),
        )

    def without(self, *stages: Stage) -> "Policy":
        """Return this policy with stages switched off; they are named in the card and the audit."""
        sealing = Sealing.OFF if Stage.NOISE in stages else self.sealing
        return replace(self, off=self.off | frozenset(stages), sealing=sealing)

    def on(self, stage: Stage) -> bool:
        """Tell whether a stage is on."""
        return stage not in self.off

    @property
    def weakened(self) -> tuple[str, ...]:
        """Return what is weaker than `secure()`, in words that the card and the audit carry."""
        words = [f"off:{stage}" for stage in Stage if stage in self.off]
        if self.strangers is not Strangers.REFUSED:
            words.append(f"strangers:{self.strangers}")
        if self.push.private:
            words.append("push:private")
        return tuple(words)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientPolicy:
    """What a client insists on; every weakening is a word of its own.

    `sealing`: REQUIRED never sends in the clear, OFFERED seals wherever the card offers it, OFF only where a
    card requires it. `fallback`: a peer who has spoken Noise may go back to plain. `unsigned`: a card without
    a signature is taken. `plain_http`: http beyond this machine is spoken. `streaming` as in the official
    `ClientConfig`.
    """

    sealing: Sealing = Sealing.OFFERED
    fallback: bool = False
    unsigned: bool = False
    plain_http: bool = False
    streaming: bool = True

    @classmethod
    def secure(cls) -> "ClientPolicy":
        """Return the default: signed cards only, sealed where offered, never back to plain."""
        return cls()

    @classmethod
    def open(cls) -> "ClientPolicy":
        """Return what reaches any server of the standard: unsigned cards, plain http, no Noise needed."""
        return cls(fallback=True, unsigned=True, plain_http=True)
