"""`hive-a2a card`: look at a card, sign one, and ask whether one is to be trusted."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hive_a2a.command.tell import (
    CommandOptions,
    common_options,
    fact,
    one_line,
    run_async,
    say,
    show,
    show_json,
)
from hive_a2a.errors import A2AError

if TYPE_CHECKING:
    from hive_a2a.cards.verify import CardTrust, CardVerdict


@click.group(help="Show, sign and verify the cards of agents.")
def card() -> None:
    """Hold the verbs of cards."""


@card.command(
    name="show",
    help="Show the card of an agent, by its URL or from a file. Nothing is verified.",
    epilog="Example:  hive-a2a card show https://agent.example.com",
)
@click.argument("place")
@common_options
def show_card(*, options: CommandOptions, place: str) -> int:
    """Show a card."""
    from hive_a2a.cards.reading import CardLimits, read_object

    raw, peer = run_async(lambda: _fetch(place))
    members = read_object(raw, CardLimits(), "The card")
    if options.json:
        show_json(members)
        return 0
    for line in _card_lines(members, peer):
        show(line)
    say(options, f"Next:  hive-a2a card verify {place}")
    return 0


@card.command(
    help="Sign a card with an agent's keys, and print it.",
    epilog="Example:  hive-a2a card sign card.json --keys ./my-agent-keys --out signed.json",
)
@click.argument("file", type=click.Path(dir_okay=False, exists=True, path_type=Path))
@click.option(
    "--keys",
    "folder",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="The folder of the keys; make one with `hive-a2a keys new`.",
)
@click.option("--jku", metavar="URL", help="Where the key set is served, for verifiers that ask.")
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), help="Write it to a new file."
)
@common_options
def sign(
    *, options: CommandOptions, file: Path, folder: Path, jku: str | None, out: Path | None
) -> int:
    """Sign a card."""
    from hive_a2a.cards.describe import card_json
    from hive_a2a.cards.resolve import read_card
    from hive_a2a.command.keys import keys_in

    own = keys_in(folder)
    signed = card_json(own.sign(read_card(file.read_bytes()), jku=jku)).decode()
    if out is None:
        show(signed)
    else:
        try:
            with out.open("x") as output:
                output.write(signed + "\n")
        except FileExistsError as error:
            raise A2AError(
                f"{out} exists.", why="Nothing is overwritten.", fix="Name another file."
            ) from error
    say(options, f"Signed by {', '.join(key.kid for key in own.public)}, epoch {own.epoch}.")
    return 0


@card.command(
    help="Tell whether a card is signed by somebody whom you trust: a pinned key, the keys at an address, "
    "or whoever signed it when it was first seen.",
    epilog="Example:  hive-a2a card verify https://agent.example.com --pin 3q2-7wX...",
)
@click.argument("place")
@click.option(
    "--pin",
    "pins",
    multiple=True,
    metavar="THUMBPRINT|FILE",
    help="Trust this key alone: its thumbprint (RFC 7638), or a file with a key set.",
)
@click.option(
    "--jwks", "key_sets", multiple=True, metavar="URL", help="Trust the keys at an address."
)
@click.option(
    "--forget",
    is_flag=True,
    help="Forget its keys and that it spoke Noise: take the card as if it had not been met.",
)
@common_options
def verify(
    *,
    options: CommandOptions,
    place: str,
    pins: tuple[str, ...],
    key_sets: tuple[str, ...],
    forget: bool,
) -> int:
    """Verify a card."""
    peer, name, verdict = run_async(lambda: _verify(place, pins, key_sets, forget=forget))
    if options.json:
        show_json(
            {
                "peer": peer,
                "name": name,
                "trusted_by": str(verdict.trusted_by),
                "kid": verdict.kid,
                "keys": [key.jwk() for key in verdict.keys],
                "exact": verdict.exact,
                "epoch": verdict.epoch,
                "first_seen": verdict.first_seen,
            }
        )
        return 0
    show(f"card        ok   {one_line(name, 80)}: {verdict.trusted_by}")
    show(fact("from", peer))
    for key in verdict.keys:
        show(fact("key", f"{key.algorithm:<6} {key.thumbprint}"))
    covers = "every member" if verdict.exact else "all members but empty ones"
    show(fact("covers", covers))
    if verdict.first_seen:
        show(fact("first seen", verdict.first_seen))
    if not verdict.known_before and verdict.keys:
        say(options, "  The key came with the card. Ask the owner, then pin it:")
        say(options, f"  hive-a2a card verify {place} --pin {verdict.keys[0].thumbprint}")
    return 0


async def _verify(
    place: str, pins: tuple[str, ...], key_sets: tuple[str, ...], *, forget: bool
) -> "tuple[str, str, CardVerdict]":
    import httpx

    from hive_a2a.cards.policies import Jwks, Tofu
    from hive_a2a.cards.resolve import key_fetcher, read_card
    from hive_a2a.cards.trust import FileTrust, MemoryTrust
    from hive_a2a.cards.verify import verify_card
    from hive_a2a.home import home

    raw, peer = await _fetch(place)
    found = read_card(raw)
    if forget and "//" in place:
        await _forget(peer, found)
    async with httpx.AsyncClient(trust_env=False) as http:
        trust: CardTrust
        if pins:
            trust = _pinned(found, pins)
        elif key_sets:
            trust = Jwks(list(key_sets), key_fetcher(http))
        elif "//" in place:
            trust = Tofu(store=FileTrust(home() / "trust.json"), fetch=key_fetcher(http))
        else:
            trust = Tofu(store=MemoryTrust())
        verdict = await verify_card(found, trust, peer=peer)
    return peer, str(found.name), verdict


async def _forget(peer: str, found: Any) -> None:  # noqa: ANN401 - a protobuf card
    """Forget who signed for an agent, and that it has spoken Noise."""
    from hive_a2a.cards.trust import FileTrust
    from hive_a2a.home import home
    from hive_a2a.sealed.memory import PeersInFile
    from hive_a2a.sealed.pins import own_names_of

    await FileTrust(home() / "trust.json").forget(peer)
    await PeersInFile(home() / "peers.json").forget(own_names_of(found, peer))


def _pinned(found: Any, pins: tuple[str, ...]) -> "CardTrust":  # noqa: ANN401 - a protobuf card
    """Return the trust in pinned keys: those of files, and those on the card that have the thumbprint."""
    from hive_a2a.cards.jwk import read_key_set
    from hive_a2a.cards.policies import Pinned
    from hive_a2a.cards.verify import read_signed

    keys = [
        key for pin in pins if Path(pin).is_file() for key in read_key_set(Path(pin).read_bytes())
    ]
    shown = [one.jwk for one in read_signed(found).signatures if one.jwk is not None]
    keys += [key for key in shown if key.thumbprint in pins]
    if not keys:
        raise A2AError(
            "The card is not taken.",
            why="None of its signatures is by a pinned key.",
            fix="Ask its owner for the key. A key that is not on the card is pinned as a file.",
        )
    return Pinned(keys)


async def _fetch(place: str) -> tuple[bytes, str]:
    """Return a card's bytes and where it came from: a URL or a file."""
    import httpx

    from hive_a2a.cards.reading import CardLimits
    from hive_a2a.cards.resolve import bounded_get, card_url

    if "//" not in place:
        return _read_file(place)
    url = card_url(place)
    async with httpx.AsyncClient(trust_env=False) as http:
        return await bounded_get(http, url, CardLimits()), url


def _read_file(place: str) -> tuple[bytes, str]:
    return Path(place).read_bytes(), str(Path(place).resolve())


def _card_lines(card: dict[str, Any], peer: str) -> Iterator[str]:
    yield f"{one_line(card.get('name', '?'), 80)}   {one_line(card.get('version', ''), 40)}"
    yield fact("about", card.get("description", ""))
    yield fact("from", peer)
    for one in _objects(card.get("supportedInterfaces")):
        words = (one.get("protocolBinding"), one.get("protocolVersion"), one.get("url"))
        yield fact("interface", "  ".join(str(word) for word in words if word))
    if isinstance(card.get("url"), str):
        yield fact("interface", f"{card.get('preferredTransport', 'JSONRPC')}  0.3  {card['url']}")
    capabilities = card.get("capabilities")
    able = capabilities if isinstance(capabilities, dict) else {}
    on = [name for name, value in able.items() if value is True]
    yield fact("can", ", ".join(on) or "nothing more than answer")
    for one in _objects(able.get("extensions")):
        required = "required" if one.get("required") is True else "offered"
        yield fact("extension", f"{required:<8}  {one.get('uri', '')}")
    schemes = card.get("securitySchemes")
    yield fact("security", ", ".join(schemes) if isinstance(schemes, dict) else "none")
    for one in _objects(card.get("skills")):
        yield fact("skill", f"{one.get('id', '')}: {one.get('description') or one.get('name', '')}")
    signatures = _objects(card.get("signatures"))
    yield fact("signatures", len(signatures) or "none: anybody between can have changed it")


def _objects(value: object) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
