"""Somebody holds the whole database after an owner was forgotten, and guesses: a PIN has ten thousand forms.

What is kept of arguments and answers is a commitment under a key that is not in the database. With a plain digest in
its place, the guess is right at once.
"""

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from hive.core.call import EffectClass, Outcome, Principal, Refused, Verb, sha256_hex
from hive.core.json import encode
from hive.engines import Migration, load_migrations
from hive.engines.ports import Database
from hive.kernel.ports import Attempt
from hive.node.build import SCHEMAS
from hive.testing.ledger import contents_in
from tests.kernel_rig import ALICE, Stage, running_kernel

pytestmark = pytest.mark.anyio
PIN = "4711"
GUESSES = [f"{number:04}" for number in range(10_000)]
DIGESTS = ("md5", "sha1", "sha256", "blake2b")


@pytest.fixture
def migrations() -> Sequence[Migration]:
    return [one for schema in SCHEMAS for one in load_migrations(schema)]


def spoken(pin: str) -> tuple[bytes, ...]:
    """Return the forms in which a call may have carried a PIN."""
    asked = encode({"pin": pin})
    return (pin.encode(), asked, sha256_hex(asked).encode())


async def everything(database: Database) -> str:
    """Return all rows of all tables."""
    tables = await database.fetch(
        "SELECT table_name AS name FROM information_schema.tables WHERE table_schema = 'public'"
    )
    found = []
    for table in tables:
        rows = await database.fetch(f'SELECT row_to_json(t)::text AS row FROM "{table["name"]}" t')
        found += [str(row["row"]) for row in rows]
    return "\n".join(found)


def guessed(dump: str) -> set[str]:
    """Return the PINs whose digest stands somewhere."""
    there = set(re.findall(r"[0-9a-f]{32,128}", dump))
    return {
        pin
        for pin in GUESSES
        for form in spoken(pin)
        for name in DIGESTS
        if hashlib.new(name, form).hexdigest() in there
    }


async def paid(kernel, principal: Principal = ALICE) -> None:
    """Call a tool with the PIN, and answer its question with the PIN too."""
    asked = encode({"pin": PIN})
    attempt = Attempt(
        principal=principal,
        verb=Verb.INVOKE,
        target="bank.pay",
        effect=EffectClass.ONCE,
        arguments=asked,
        facts={"answers": sha256_hex(asked)},
    )

    async def act():
        yield b"{}"

    async with kernel.dispatcher.deliver(attempt, act) as passage:
        assert not isinstance(passage, Refused), passage
        async for _ in passage:
            pass
        passage.settle(Outcome.OK)


async def left_over(database, tmp_path, commit: Callable[[bytes], str] | None) -> str:
    """Return what stands in the database when a call was made and its owner forgotten."""
    async with running_kernel(database, tmp_path, Stage()) as kernel:
        entrance = kernel.dispatcher._entrance
        if commit is not None:
            entrance._calls = replace(entrance._calls, commit=commit)
        await paid(kernel)
    await contents_in(database).forget(ALICE.owner)
    return await everything(database)


async def test_a_forgotten_content_cannot_be_guessed_from_what_is_left(database, tmp_path):
    dump = await left_over(database, tmp_path, None)
    assert "bank.pay" in dump, "that there was a call stays"
    assert f'"{PIN}"' not in dump
    assert guessed(dump) == set()


async def test_with_a_plain_digest_the_guess_is_right(database, tmp_path):
    assert guessed(await left_over(database, tmp_path, sha256_hex)) == {PIN}
