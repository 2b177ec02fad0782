"""This node as a witness for others, where the operator named their keys."""

from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Protocol, cast

from hive.core.clock import Clock
from hive.core.randomness import Randomness
from hive.ledger.drivers import WITNESSES
from hive.ledger.notes import parse_key
from hive.ledger.ports import RememberingWitness
from hive.ledger.witnessing import LogWitness
from hive.node.build import Node
from hive.protocols.witness import WitnessDoor


async def witness_door(node: Node, stack: AsyncExitStack) -> WitnessDoor | None:
    """Open the door for other nodes' checkpoints; None where no node is named.

    Its memory and key are its own: what this node signs for others says nothing of its own ledger.

    Raises:
        LedgerError: HIVE_WITNESS_FOR holds what is no key.
        ConfigError: the folder cannot be used.

    """
    keys = [parse_key(text) for text in node.settings.witness_for]
    if not keys:
        return None
    state = node.state
    url = f"file:{state.path / 'witnessed'}?name=witness-{state.signer_name}"
    memory = cast("_MemoryOpener", WITNESSES.load(url))
    opening = memory.open(url, clock=node.clock, randomness=node.randomness)
    return WitnessDoor(LogWitness(await stack.enter_async_context(opening), keys))


class _MemoryOpener(Protocol):
    def open(
        self, url: str, *, clock: Clock, randomness: Randomness
    ) -> AbstractAsyncContextManager[RememberingWitness]: ...
