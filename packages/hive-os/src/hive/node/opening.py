"""Engines that a setting names and that open by themselves: the witness, and where spans are kept."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol, cast
from urllib.parse import quote

from hive.core.clock import Clock
from hive.core.randomness import Randomness
from hive.core.settings import Settings
from hive.engines.ports import Database
from hive.ledger.drivers import WITNESSES
from hive.ledger.ports import Witness
from hive.node.state import StateFolder
from hive.observability.drivers import COLLECTORS, SPAN_STORES
from hive.observability.export import ForwardedSpans
from hive.observability.ports import SpanStore


class WitnessOpener(Protocol):
    """What a row of the table of witnesses has: the class opens itself from its URL."""

    def open(
        self, url: str, *, clock: Clock, randomness: Randomness
    ) -> AbstractAsyncContextManager[Witness]:
        """Open the witness behind a URL."""
        ...


def span_store(settings: Settings, database: Database) -> SpanStore:
    """Return the span store of the settings."""
    make = cast("Callable[[Database], SpanStore]", SPAN_STORES.load(settings.spans_url))
    store = make(database)
    if not settings.otlp_endpoint:
        return store
    collector = cast("Callable[[str], SpanStore]", COLLECTORS.load(settings.otlp_endpoint))
    return ForwardedSpans(store, collector(settings.otlp_endpoint))


def witness_of(
    settings: Settings, state: StateFolder, clock: Clock, randomness: Randomness
) -> AbstractAsyncContextManager[Witness]:
    """Open the witness of the settings: another key, in the state folder unless a URL names a place."""
    url = settings.witness_url or f"file:{state.path / 'witness'}"
    if not url.startswith("file:"):
        # A witness elsewhere holds many logs: it is told whose this is, and where receipts are kept.
        folder = quote(str(state.path / "receipts"))
        url += f"{'&' if '?' in url else '?'}node={state.node_id}&folder={folder}"
    opener = cast("WitnessOpener", WITNESSES.load(url))
    return opener.open(url, clock=clock, randomness=randomness)
