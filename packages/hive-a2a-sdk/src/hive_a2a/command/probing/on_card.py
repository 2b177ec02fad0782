"""Probes of the card: is it signed, is it whole, where does it lead, what does it tell."""

import re
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import urlsplit

from hive_a2a.cards.errors import CardError, CardFault
from hive_a2a.cards.policies import Tofu
from hive_a2a.cards.resolve import key_fetcher, read_card
from hive_a2a.cards.verify import read_signed, verify_card
from hive_a2a.command.probing.agent import PROBE_TEXT, ProbedAgent
from hive_a2a.command.probing.findings import (
    AttackProbe,
    Severity,
    Sight,
    fails,
    not_applicable,
    unclear,
    withstands,
)
from hive_a2a.origins import is_loopback
from hive_a2a.push.screen import public

_SECRETS: Final = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----"
    r"|\bAKIA[0-9A-Z]{16}\b"
    r"|\bsk-[A-Za-z0-9_-]{20,}"
    r"|\bgh[pousr]_[A-Za-z0-9]{30,}"
    r"|\bxox[abprs]-[A-Za-z0-9-]{10,}"
    r"|\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}"
    r"|\"(?:password|client_?secret|api_?key_?value)\"\s*:\s*\"[^\"]+\""
)
_BROKEN: Final = frozenset(
    {CardFault.BAD_SIGNATURE, CardFault.NOT_COVERED, CardFault.MALFORMED, CardFault.ALGORITHM}
)
DEPTH_MAX: Final = 32


async def unsigned_card(agent: ProbedAgent) -> Sight:
    """See whether anybody signed the card."""
    signatures = agent.card.get("signatures")
    if isinstance(signatures, list) and signatures:
        return withstands(f"It has {len(signatures)} signatures.")
    return fails("Nobody signed it: whoever stands between can put another in its place.")


async def altered_card(agent: ProbedAgent) -> Sight:
    """Verify the card's signatures with the key that it names or that its own origin serves."""
    if not agent.card.get("signatures"):
        return not_applicable("It is not signed.")
    try:
        card = read_card(agent.raw_card)
        verdict = await verify_card(card, Tofu(fetch=key_fetcher(agent.http)), peer=agent.card_url)
    except CardError as error:
        if error.fault in _BROKEN:
            return fails(f"Its signature does not hold ({error.why}).")
        return unclear(f"Its key cannot be had ({error.why})")
    return withstands(f"The key {verdict.kid} signed it as it is.")


async def foreign_key_set(agent: ProbedAgent) -> Sight:
    """See whether a signature sends its verifier elsewhere for the key."""
    if not agent.card.get("signatures"):
        return not_applicable("It is not signed.")
    try:
        signed = read_signed(read_card(agent.raw_card), agent.card_url)
    except CardError as error:
        return unclear(f"Its signatures cannot be read ({error.why}).")
    own = urlsplit(agent.card_url).netloc
    foreign = [one.jku for one in signed.signatures if one.jku and urlsplit(one.jku).netloc != own]
    if foreign:
        return fails(f"Its key is said to be at {foreign[0][:200]}, which is another host.")
    return withstands("No signature leads to another host for its key.")


async def plain_interface(agent: ProbedAgent) -> Sight:
    """See whether the card leads from TLS to a place without it."""
    plain = [
        url
        for url in _interfaces(agent.card)
        if urlsplit(url).scheme in ("http", "ws", "grpc") and not is_loopback(url)
    ]
    if plain:
        return fails(f"It offers {plain[0][:200]}.")
    if all(is_loopback(url) for url in _interfaces(agent.card)):
        return not_applicable("All interfaces are on this machine.")
    return withstands("No interface is without TLS.")


async def telling_card(agent: ProbedAgent) -> Sight:
    """Read the card for keys, and for addresses that only the inside knows."""
    text = agent.raw_card.decode(errors="replace")
    found = _SECRETS.search(text)
    if found:
        return fails(f"It holds what looks like a secret, beginning with {found[0][:8]!r}.")
    if is_loopback(agent.card_url):
        return withstands("It holds nothing that looks like a secret.")
    inner = [host for host in _hosts(agent.card) if _is_inner(host)]
    if inner:
        return fails(f"It names {inner[0]}, which is inside the operator's network.")
    return withstands("It holds nothing that looks like a secret or an inner address.")


async def ignored_extension(agent: ProbedAgent) -> Sight:
    """Call without the extension that the card requires."""
    wanted = agent.required_extensions
    if not wanted:
        return not_applicable("The card requires no extension.")
    headers = {name: text for name, text in agent.headers().items() if name != "a2a-extensions"}
    reply = await agent.harmless(headers=headers)
    if reply.kind == agent.control.kind and not reply.kept_out:
        # Some check it only where a message is sent.
        message = {
            "messageId": "hive-probe-2",
            "role": "ROLE_USER",
            "parts": [{"text": PROBE_TEXT}],
        }
        reply = await agent.call("SendMessage", {"message": message}, headers=headers)
    if reply.code == -32008:
        return withstands(f"It was refused as the standard says ({reply}).")
    if reply.ok or reply.kind == agent.control.kind:
        if reply.kept_out:
            return unclear(f"Nobody gets that far without a token ({reply}).")
        return fails(f"The call passed without {wanted[0][:100]} ({reply}).")
    return unclear(f"It was refused for another reason ({reply}).")


def _interfaces(card: dict[str, Any]) -> list[str]:
    listed = card.get("supportedInterfaces") or card.get("additionalInterfaces") or []
    urls = [one.get("url") for one in listed if isinstance(one, dict)]
    return [url for url in [*urls, card.get("url")] if isinstance(url, str) and "//" in url]


def _hosts(value: object, depth: int = 0) -> Iterator[str]:
    """Yield the hosts of all URLs in a card."""
    if isinstance(value, str) and "://" in value:
        try:
            host = urlsplit(value).hostname
        except ValueError:
            return
        if host:
            yield host
    elif depth < DEPTH_MAX and isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _hosts(one, depth + 1)


def _is_inner(host: str) -> bool:
    if (
        host.endswith((".local", ".internal", ".svc", ".lan", ".localdomain"))
        or host == "localhost"
    ):
        return True
    return bool(re.fullmatch(r"[0-9.]+|.*:.*", host)) and not public(host)


CARD_PROBES: Final = (
    AttackProbe(
        id="card-unsigned",
        title="Unsigned card",
        severity=Severity.MEDIUM,
        clause="8.4",
        sends="nothing; looks at the card",
        fix="Sign the card: `hive-a2a card sign`.",
        run=unsigned_card,
    ),
    AttackProbe(
        id="card-altered",
        title="Altered card",
        severity=Severity.CRITICAL,
        clause="8.4.3",
        sends="perhaps one GET of the key set at the card's own origin",
        fix="Find out who changes the card after it was signed, or sign it anew.",
        run=altered_card,
    ),
    AttackProbe(
        id="card-foreign-key-set",
        title="Key set on another host",
        severity=Severity.MEDIUM,
        clause="8.4.2",
        sends="nothing; looks at the card",
        fix="Serve the key set from the card's own origin.",
        run=foreign_key_set,
    ),
    AttackProbe(
        id="card-plain-interface",
        title="Card leads away from TLS",
        severity=Severity.HIGH,
        clause="7.1",
        sends="nothing; looks at the card",
        fix="Name https URLs only.",
        run=plain_interface,
    ),
    AttackProbe(
        id="card-tells-secrets",
        title="Card tells secrets",
        severity=Severity.HIGH,
        clause="14.3",
        sends="nothing; looks at the card",
        fix="Take it out of the card, and change the key that was shown.",
        run=telling_card,
    ),
    AttackProbe(
        id="card-required-extension",
        title="Required extension ignored",
        severity=Severity.HIGH,
        clause="3.3.4, 4.6",
        sends="a harmless request without A2A-Extensions, perhaps one test message",
        fix="Answer ExtensionSupportRequired (-32008) before anything is done.",
        run=ignored_extension,
    ),
)
