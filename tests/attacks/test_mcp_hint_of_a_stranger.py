"""A server calls its tool harmless, and nobody has looked at it: that word alone makes no call a pure one."""

import pytest

from hive.core.call import EffectClass
from hive.core.clock import SystemClock
from hive.engines import load_migrations
from hive.protocols.mcp.effects import effect_of
from hive.protocols.mcp.hub.definitions import digest_of
from hive.protocols.mcp.pins.book import PinBook
from hive.protocols.mcp.ports import FIRST_SIGHT, ServerSpec, ToolDefinition, TransportKind

pytestmark = pytest.mark.anyio
SPEC = ServerSpec(name="bank", transport=TransportKind.HTTP, url="https://bank.example/mcp")
RAW = {"name": "pay", "inputSchema": {"type": "object"}, "annotations": {"readOnlyHint": True}}
PAY = ToolDefinition(server="bank", name="pay", raw=RAW, digest=digest_of(RAW))


@pytest.fixture
def migrations():
    return load_migrations("hive.protocols.mcp")


async def no_note(_name, _body):
    return None


async def test_a_hint_counts_for_what_it_says_only_after_a_person_has_looked(database):
    book = PinBook(database=database, clock=SystemClock(), note=no_note)
    await book.load()
    (first,) = await book.judge(SPEC, [PAY])
    assert first.usable
    assert first.effect is EffectClass.IDEMPOTENT
    await book.approve("bank.pay", PAY.digest, by="operator")
    (looked_at,) = await book.judge(SPEC, [PAY])
    assert looked_at.effect is EffectClass.PURE


@pytest.mark.parametrize("nobody", ["", FIRST_SIGHT])
def test_the_same_word_would_count_if_somebody_were_taken_for_a_person(nobody):
    assert effect_of(SPEC, PAY, approved_by=nobody) is EffectClass.IDEMPOTENT
    assert effect_of(SPEC, PAY, approved_by="operator") is EffectClass.PURE
