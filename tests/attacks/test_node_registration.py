"""A stranger wants to be a known node: with used, borrowed, cheap, late and forged answers, and quotes that do not fit."""

import contextlib
import hashlib

import msgspec
import pytest

from hive.core.errors import (
    BadInputError,
    ConfigError,
    ConflictError,
    IdentityError,
    InvalidIdError,
    NotFoundError,
)
from hive.core.tpm_quotes import read_quote
from hive.engines import load_migrations
from hive.mesh import PeerKeys
from hive.node.foreign_nodes import KnownPeers
from hive.security.identity.registration import answers
from hive.security.identity.registration.challenges import LIFE, read_challenge
from tests.registration_rig import (
    BITS,
    GUEST,
    HOST,
    OTHER,
    Host,
    SoftTpm,
    answering,
    keys_of,
    machines_file,
    resigned,
)

pytestmark = pytest.mark.anyio


@pytest.fixture
def migrations():
    return load_migrations("hive.security")


@pytest.fixture
def host(database):
    return Host(database)


async def test_a_node_that_worked_and_holds_its_key_is_known_at_once_and_after_a_restart(host):
    keys = keys_of()
    own = keys_of(HOST).public
    peers = KnownPeers(own, host.registrar)
    assert peers.get(keys.node) is None
    answer = answering(keys).answer(host.challenge())
    assert answer.zero_bits() >= BITS
    await host.registrar.register(answer.text, by="operator")
    assert peers.get(keys.node) == keys.public
    assert peers.get(own.node) == own
    again = host.opened()
    await again.load()
    assert again.get(GUEST).signing == keys.public.signing
    await again.remove(GUEST)
    await host.registrar.load()
    assert peers.get(keys.node) is None
    with pytest.raises(NotFoundError):
        await host.registrar.remove(GUEST)


async def test_a_solution_is_taken_once(host):
    """Forgotten after its removal or not: the challenge is used up, also for a node that was restarted."""
    answer = answering(keys_of()).answer(host.challenge())
    await host.registrar.register(answer.text, by="operator")
    await host.registrar.remove(GUEST)
    for registrar in (host.registrar, host.opened()):
        with pytest.raises(ConflictError, match="not registered") as refused:
            await registrar.register(answer.text, by="operator")
        assert "used" in refused.value.why
        assert registrar.get(GUEST) is None
    await host.database.execute("DELETE FROM node_challenge_used")
    await host.registrar.register(
        answer.text, by="operator"
    )  # the book of used ones alone kept it out


async def test_a_challenge_in_other_words_is_the_same_challenge(host):
    """Its text may be written in many ways, and the code holds for what it says: what is used up is its nonce."""
    text = host.challenge()
    await host.registrar.register(answering(keys_of()).answer(text).text, by="operator")
    await host.registrar.remove(GUEST)
    spaced = answers.to_base64url_text(b" " + msgspec.json.encode(read_challenge(text)))
    assert spaced != text
    with pytest.raises(ConflictError):
        await host.registrar.register(answering(keys_of()).answer(spaced).text, by="operator")


async def test_a_solution_for_another_node_or_other_keys_is_worth_nothing(host):
    keys, thief = keys_of(), keys_of()
    theirs = answering(keys).answer(host.challenge())
    stolen = resigned(theirs, thief, signing=thief.public.signing, sealing=thief.public.sealing)
    while stolen.zero_bits() >= BITS:  # once in a thousand the stolen number fits by chance
        stolen = resigned(stolen, thief, sealing=keys_of().public.sealing)
    renamed = resigned(theirs, thief, node=OTHER)
    borrowed = resigned(theirs, thief, challenge=host.challenge(OTHER))
    unsigned = msgspec.structs.replace(theirs, signature=bytes(64))
    swapped = msgspec.structs.replace(theirs, sealing=thief.public.sealing)
    for forged in (stolen, renamed, borrowed, unsigned, swapped):
        with pytest.raises(IdentityError, match="not registered"):
            await host.registrar.register(forged.text, by="operator")
    with pytest.raises(IdentityError, match="another node"):
        answering(keys_of(OTHER)).answer(host.challenge(GUEST))
    assert host.registrar.all() == []
    await host.registrar.register(theirs.text, by="operator")  # none of that used up the challenge


async def test_work_that_is_too_easy_is_not_enough(host):
    keys = keys_of()
    honest = read_challenge(host.challenge())
    eased = msgspec.structs.replace(honest, bits=0)
    remade = answering(keys).answer(eased.text)
    lazy = resigned(answering(keys).answer(honest.text), keys, counter=0)
    while lazy.zero_bits() >= BITS:
        lazy = resigned(lazy, keys, counter=lazy.counter + 1)
    for answer in (remade, lazy):
        with pytest.raises(IdentityError, match="not registered"):
            await host.registrar.register(answer.text, by="operator")
    # Asked when it was cheap, answered when the operator has made it dear.
    cheap = answering(keys).answer(host.opened(bits=2).challenge(GUEST).text)
    with pytest.raises(IdentityError) as refused:
        await host.registrar.register(cheap.text, by="operator")
    assert "less was asked" in refused.value.why
    await host.opened(bits=2).register(cheap.text, by="operator")


async def test_a_solution_that_comes_late_is_refused_and_its_time_cannot_be_prolonged(host):
    keys = keys_of()
    answer = answering(keys).answer(host.challenge())
    longer = msgspec.structs.replace(read_challenge(host.challenge()), ends_at=2**40)
    host.clock.moved_s = LIFE.total_seconds() + 1
    with pytest.raises(IdentityError) as refused:
        await host.registrar.register(answer.text, by="operator")
    assert "ended" in refused.value.why
    with pytest.raises(IdentityError):
        await host.registrar.register(answering(keys).answer(longer.text).text, by="operator")
    host.clock.moved_s = 0.0
    await host.registrar.register(answer.text, by="operator")


async def test_a_challenge_of_another_node_or_of_ones_own_making_is_refused(host, database):
    other = Host(database, master=bytes([1]) * 32)
    made = read_challenge(host.challenge())
    for text in (
        other.challenge(),
        msgspec.structs.replace(made, code="0" * 64).text,
        msgspec.structs.replace(made, tpm=True).text,
        msgspec.structs.replace(made, host=OTHER).text,
    ):
        quote = {"quote": b"q", "quote_signature": b"s"}
        with pytest.raises(IdentityError, match="not registered"):
            await host.registrar.register(
                answering(keys_of()).answer(text, **quote).text, by="operator"
            )


async def test_a_foreign_node_takes_neither_this_nodes_place_nor_anothers(host):
    with pytest.raises(IdentityError):
        await host.registrar.register(
            answering(keys_of(HOST)).answer(host.challenge(HOST)).text, by="operator"
        )
    first = keys_of()
    await host.registrar.register(answering(first).answer(host.challenge()).text, by="operator")
    with pytest.raises(ConflictError):
        await host.registrar.register(
            answering(keys_of()).answer(host.challenge()).text, by="operator"
        )
    found = KnownPeers(keys_of(HOST).public, host.registrar).get(first.node)
    assert found == PeerKeys(
        node=first.node, signing=first.public.signing, sealing=first.public.sealing
    )


async def test_checking_costs_one_hash_of_a_fixed_length_whatever_was_sent(host, monkeypatch):
    keys, hashed = keys_of(), []
    real = answers._zero_bits
    monkeypatch.setattr(answers, "_zero_bits", lambda *one: hashed.append(one) or real(*one))
    good = answering(keys).answer(host.challenge())
    for sent in (
        resigned(good, keys, counter=2**64 - 1),
        resigned(good, keys, quote=b"q" * 4096, quote_signature=b"s" * 4096),
    ):
        hashed.clear()
        with contextlib.suppress(IdentityError):
            await host.registrar.register(sent.text, by="operator")
        assert len(hashed) <= 1
        assert len(answers._bound(sent.challenge, sent.node, sent.signing, sent.sealing)) == 128


@pytest.mark.parametrize(
    "text", ["", "x", "!!!!", "e30", "A" * 16_385, answers.to_base64url_text(b'{"challenge":1}')]
)
async def test_what_is_no_answer_is_refused_before_anything_is_asked(host, text):
    with pytest.raises(BadInputError):
        await host.registrar.register(text, by="operator")


async def test_sizes_that_cannot_be_are_refused(host):
    keys = keys_of()
    good = answering(keys).answer(host.challenge())
    for changes in (
        {"signing": b"x"}, {"sealing": bytes(33)}, {"counter": -1}, {"counter": 2**64},
        {"quote": bytes(4097)},
    ):  # fmt: skip
        with pytest.raises((IdentityError, BadInputError)):
            await host.registrar.register(
                msgspec.structs.replace(good, **changes).text, by="operator"
            )
    for node in ("", "../x", "a b", "x" * 200):
        with pytest.raises(InvalidIdError):
            host.registrar.challenge(node)
    hard = msgspec.structs.replace(read_challenge(host.challenge()), bits=200)
    with pytest.raises(IdentityError, match="not registered"):
        answering(keys).answer(hard.text)  # nobody is made to work for ever


async def test_work_ends_with_whoever_asked_for_it(host):
    dear = msgspec.structs.replace(read_challenge(host.challenge()), bits=32)
    asked = []
    with pytest.raises(IdentityError, match="called off"):
        answering(keys_of()).answer(dear.text, goes_on=lambda: bool(asked.append(1)))
    assert asked == [1]


# The machine.


@pytest.fixture
def tpm():
    return SoftTpm()


@pytest.fixture
def watched(database, tmp_path, tpm):
    machines = machines_file(tmp_path, rack=(tpm.pem, tpm.registers))
    return Host(database, bits=0, machines=machines)


def quoted(host, keys, tpm, *, challenge="", qualifier=b"", **how):
    """Answer with a quote of this TPM; by default over the right challenge."""
    challenge = challenge or host.challenge()
    quote, signature = tpm.quote(qualifier or answering(keys).qualifier(challenge), **how)
    return answering(keys).answer(challenge, quote=quote, quote_signature=signature)


async def refused_why(host, answer) -> str:
    with pytest.raises(IdentityError, match="not registered") as refused:
        await host.registrar.register(answer.text, by="operator")
    return refused.value.why


async def test_a_known_machine_in_its_known_state_vouches_for_one_node(watched, tpm):
    made = await watched.registrar.register(quoted(watched, keys_of(), tpm).text, by="operator")
    assert made.machine_name == "rack"
    keys, challenge = keys_of(OTHER), watched.challenge(OTHER)
    second = quoted(watched, keys, tpm, challenge=challenge)
    with pytest.raises(ConflictError) as refused:
        await watched.registrar.register(second.text, by="operator")
    assert "another" in refused.value.why
    await watched.registrar.remove(GUEST)
    await watched.registrar.register(second.text, by="operator")


async def test_a_quote_over_an_old_challenge_or_for_other_keys_is_refused(watched, tpm):
    keys = keys_of()
    old = answering(keys).qualifier(watched.challenge())
    assert "another challenge" in await refused_why(
        watched, quoted(watched, keys, tpm, qualifier=old)
    )
    challenge = watched.challenge()
    theirs = answering(keys_of()).qualifier(challenge)
    relayed = quoted(watched, keys, tpm, challenge=challenge, qualifier=theirs)
    assert "another challenge" in await refused_why(watched, relayed)
    fitting = quoted(watched, keys, tpm, challenge=challenge)
    await watched.registrar.register(fitting.text, by="operator")


async def test_a_machine_that_runs_something_else_does_not_vouch(watched, tpm):
    keys, before = keys_of(), dict(tpm.registers)
    tpm.registers[7] = hashlib.sha256(before[7] + b"a boot loader of somebody's").digest()
    assert "measured" in await refused_why(watched, quoted(watched, keys, tpm))
    tpm.registers = {0: before[0]}
    assert "other registers" in await refused_why(watched, quoted(watched, keys, tpm))
    tpm.registers = {**before, 8: bytes(32)}
    assert "other registers" in await refused_why(watched, quoted(watched, keys, tpm))
    tpm.registers = before
    await watched.registrar.register(quoted(watched, keys, tpm).text, by="operator")


async def test_the_quote_of_a_key_that_nobody_knows_does_not_vouch(watched, tpm):
    liar = SoftTpm()
    liar.registers = tpm.registers
    assert "no known machine" in await refused_why(watched, quoted(watched, keys_of(), liar))


async def test_what_is_signed_and_no_quote_does_not_vouch(watched, tpm):
    keys = keys_of()
    for how in ({"magic": 1}, {"kind": 0x8017}, {"bank": 0x0004}, {"after": b"x"}):
        assert await refused_why(watched, quoted(watched, keys, tpm, **how))
    challenge = watched.challenge()
    quote, signature = tpm.quote(answering(keys).qualifier(challenge))
    for size in range(len(quote)):
        with pytest.raises(IdentityError):
            read_quote(quote[:size])
    for made in (b"", signature[:5], b"\x00\x18\x00\x04" + signature[4:], signature + b"x",
                 b"\x00\x14" + signature[2:], b"\x00\x18\x00\x0b" + b"\x00\x00\x00\x00"):  # fmt: skip
        forged = answering(keys).answer(challenge, quote=quote, quote_signature=made or b"s")
        assert await refused_why(watched, forged)


async def test_where_machines_vouch_nobody_gets_in_without_one(watched, host):
    keys = keys_of()
    with pytest.raises(IdentityError, match="asks for a quote"):
        answering(keys).answer(watched.challenge())
    softer = read_challenge(watched.challenge())
    assert softer.tpm
    bare = answering(keys).answer(
        host.registrar.challenge(GUEST).text
    )  # asked before the file was there
    assert "less was asked" in await refused_why(watched, bare)


@pytest.mark.parametrize(
    "text",
    [
        "not toml [",
        "[a]\nkey = 'x'\n",
        "[a]\nkey = 'x'\npcrs = {}\n",
        "[a]\nkey = 'x'\npcrs = { 0 = 'zz' }\n",
        "a = 1\n",
    ],
)
async def test_a_file_of_machines_that_cannot_be_read_lets_nobody_in(database, tmp_path, text):
    (tmp_path / "machines.toml").write_text(text)
    host = Host(database, bits=0, machines=str(tmp_path / "machines.toml"))
    answer = quoted(host, keys_of(), SoftTpm())
    with pytest.raises(ConfigError, match="HIVE_NODE_MACHINES"):
        await host.registrar.register(answer.text, by="operator")
    assert host.registrar.all() == []


async def test_impossible_work_stops_the_start(database):
    for bits in (-1, 33):
        with pytest.raises(ConfigError, match="HIVE_NODE_WORK_BITS"):
            Host(database, bits=bits)
