"""The card of a server as it is served: described, signed, with the keys that requests may be sealed for."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from a2a.types.a2a_pb2 import AgentCard, AgentInterface

from hive_a2a.cards.describe import card_etag, card_json, described
from hive_a2a.cards.keys import AgentKeys
from hive_a2a.cards.noise_params import NoiseParams
from hive_a2a.clock import WallClock
from hive_a2a.errors import A2AError
from hive_a2a.faults import Json
from hive_a2a.policy import Policy, Sealing, Strangers
from hive_a2a.ports import Authenticator, Stage
from hive_a2a.sealed.responder import SealedAgent
from hive_a2a.wire.card_page import CardPage

CARD_CACHE: Final = b"max-age=300"
"""A card may be kept for five minutes: its keys outlive a rotation, so an old one still works."""


class ServedCard:
    """A card with what the server really does written into it, under the server's signature.

    Raises `A2AError` where the card lists no interface and no public URL is given.
    """

    def __init__(
        self,
        card: AgentCard,
        *,
        policy: Policy,
        authenticators: Sequence[Authenticator],
        keys: AgentKeys,
        clock: WallClock,
        public_url: str = "",
        extended: AgentCard | None = None,
        hybrid: bool = False,
    ) -> None:
        self._given = card
        self._extended = extended
        self._hybrid = hybrid
        self._clock = clock
        self._schemes: Mapping[str, Mapping[str, Json]] = {
            one.scheme: one.card_scheme()
            for one in authenticators
            if policy.on(Stage.AUTHENTICATION)
        }
        self.policy = _in_effect(policy, known_otherwise=bool(self._schemes))
        self._interfaces = _interfaces(card, public_url)
        self.take(keys)

    def take(self, keys: AgentKeys) -> None:
        """Serve the card under these keys; those before them go on for whoever holds the old card."""
        pairs = [(keys.noise, keys.epoch)]
        if keys.noise_before is not None:
            pairs.append((keys.noise_before, keys.epoch - 1))
        offers = [
            NoiseParams(static_key=pair.public, epoch=epoch, hybrid=self._hybrid)
            for pair, epoch in pairs
        ]
        cards = [self._described(self._given, offer) for offer in offers]
        self.keys = keys
        self.card: AgentCard = keys.sign(cards[0])
        self.agents = tuple(
            SealedAgent.of_card(card, offer, pair)
            for card, offer, (pair, _) in zip(cards, offers, pairs, strict=True)
        )
        self.extended_card: AgentCard | None = None
        if self._extended is not None:
            self.extended_card = keys.sign(self._described(self._extended, offers[0]))
        self.page = CardPage(
            body=card_json(self.card),
            etag=card_etag(self.card).encode(),
            modified=self._clock.now(),
            cache_control=CARD_CACHE,
        )

    def _described(self, card: AgentCard, offer: NoiseParams) -> AgentCard:
        has_more = self._extended is not None or self._given.capabilities.extended_agent_card
        written: AgentCard = described(
            card,
            policy=self.policy,
            schemes=self._schemes,
            noise=offer,
            interfaces=self._interfaces,
            extended=has_more,
        )
        return written


def _in_effect(policy: Policy, *, known_otherwise: bool) -> Policy:
    """Return the policy as it is in effect: who refuses strangers and knows no other way requires Noise."""
    offered = policy.sealing is Sealing.OFFERED
    if offered and policy.strangers is Strangers.REFUSED and not known_otherwise:
        return replace(policy, sealing=Sealing.REQUIRED)
    return policy


def _interfaces(card: AgentCard, public_url: str) -> list[AgentInterface]:
    offered = list(card.supported_interfaces)
    if offered:
        return offered
    if not public_url:
        raise A2AError(
            "The card lists no interface.",
            why="A client would not know where to send anything.",
            fix="Add `supported_interfaces`, or pass `public_url`.",
        )
    return [
        AgentInterface(url=public_url, protocol_binding=binding, protocol_version=version)
        for version in ("1.0", "0.3")
        for binding in ("JSONRPC", "HTTP+JSON")
    ]
