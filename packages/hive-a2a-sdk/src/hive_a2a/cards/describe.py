"""The card as it is served: what it says of security is derived from what is really on.

What the author of a card wrote about security schemes, Noise and policy is replaced, so a card cannot
promise what the server does not do, nor keep quiet about what it leaves out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import msgspec
from google.protobuf.json_format import ParseDict, ParseError

from hive_a2a.call import Proto
from hive_a2a.cards.errors import CardError, CardFault
from hive_a2a.cards.jcs import card_hash
from hive_a2a.cards.noise_params import NOISE_URI, NoiseParams, put_noise
from hive_a2a.faults import Json
from hive_a2a.policy import POLICY_URI, Policy, Sealing, Strangers
from hive_a2a.ports import Stage


def described(
    card: Proto,
    *,
    policy: Policy,
    schemes: Mapping[str, Mapping[str, Json]] | None = None,
    noise: NoiseParams | None = None,
    interfaces: Sequence[Proto] | None = None,
    streaming: bool | None = None,
    push: bool | None = None,
    extended: bool | None = None,
) -> Proto:
    """Return the card that a server serves; it is not signed yet, and its old signatures are gone.

    `schemes` are the authenticators' (`{one.scheme: one.card_scheme()}`), any of which suffices. `noise` are the
    parameters of the Noise extension. Where a capability is None the card's own word stays, and no word
    is a no.

    Raises:
        CardError: a scheme is not what the standard knows, or Noise is promised without its parameters.

    """
    served = type(card)()
    served.CopyFrom(card)
    del served.signatures[:]
    if interfaces is not None:
        del served.supported_interfaces[:]
        served.supported_interfaces.extend(interfaces)
    _describe_capabilities(served, streaming=streaming, push=push, extended=extended)
    _describe_extensions(served, policy, noise)
    _describe_schemes(served, policy, schemes or {})
    return served


def card_etag(card: Proto) -> str:
    """Return the ETag of a card: weak and without its signatures, since some are new each time."""
    return f'W/"{card_hash(card).hex()}"'


def etag_matches(if_none_match: str, etag: str) -> bool:
    """Tell whether `If-None-Match` names this card, by the weak comparison (RFC 9110, 8.8.3.2)."""
    named = {one.strip().removeprefix("W/") for one in if_none_match.split(",")}
    return "*" in named or etag.removeprefix("W/") in named


def card_json(card: Proto) -> bytes:
    """Write a card as it goes over the wire, with the members that clients of 0.3 look for."""
    from a2a.server.request_handlers.response_helpers import agent_card_to_dict

    return msgspec.json.encode(agent_card_to_dict(card))


def _describe_capabilities(
    card: Proto, *, streaming: bool | None, push: bool | None, extended: bool | None
) -> None:
    has = card.capabilities
    # Said either way: an empty member is not covered alike by the signatures of all SDKs.
    has.streaming = has.streaming if streaming is None else streaming
    has.push_notifications = has.push_notifications if push is None else push
    has.extended_agent_card = has.extended_agent_card if extended is None else extended


def _describe_extensions(card: Proto, policy: Policy, noise: NoiseParams | None) -> None:
    if policy.sealing is Sealing.REQUIRED and noise is None:
        raise CardError(
            CardFault.KEYS,
            "The card cannot be described.",
            why="The policy requires Noise, and there are no parameters for it.",
            fix="Give the server its keys, or do not require Noise.",
        )
    kept = [one for one in card.capabilities.extensions if one.uri not in (POLICY_URI, NOISE_URI)]
    del card.capabilities.extensions[:]
    card.capabilities.extensions.extend(kept)
    card.capabilities.extensions.add(
        uri=POLICY_URI,
        description="What this server leaves out of its secure profile.",
        params={"weakened": list(policy.weakened)},
    )
    if noise is not None and policy.sealing is not Sealing.OFF:
        put_noise(card, replace(noise, required=policy.sealing is Sealing.REQUIRED))


def _describe_schemes(
    card: Proto, policy: Policy, schemes: Mapping[str, Mapping[str, Json]]
) -> None:
    card.security_schemes.clear()
    del card.security_requirements[:]
    for skill in card.skills:
        del skill.security_requirements[:]
    if not policy.on(Stage.AUTHENTICATION):
        return
    for name, scheme in schemes.items():
        try:
            ParseDict(dict(scheme), card.security_schemes[name])
        except ParseError:
            raise CardError(
                CardFault.MALFORMED,
                "The card cannot be described.",
                why=f"The security scheme {name!r} is not one that the standard knows.",
                fix="Return ProtoJSON of a SecurityScheme from `card_scheme()`.",
            ) from None
        card.security_requirements.add().schemes[name].SetInParent()
    if schemes and policy.strangers is not Strangers.REFUSED:
        # An empty alternative says that showing nothing will do, too.
        card.security_requirements.add()
