"""How the honest agent finds things in the bank, and how one sees what it did."""

import json
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from typing import Any, Final

from benchmarks.worlds.world import BenignTask, State, Use

BOOKINGS: Final = ("transaction reference", "counterparty", "crafted transaction")
PAPERS: Final = ("document name", "crafted document")
LETTERS: Final = ("document text", *PAPERS)


def task(
    name: str, words: str, steps: Callable[[Use], None], done: Callable[[State], bool], *places: str
) -> BenignTask:
    """Return a task; where what it looks for is gone (an attack may have deleted it), its agent gives up."""

    @wraps(steps)
    def tried(use: Use) -> None:
        with suppress(LookupError, StopIteration, ValueError):
            steps(use)

    return BenignTask(name, words, tried, done, places)


def answered(*parts: str) -> Callable[[State], bool]:
    """See whether all this stood in what was read."""
    return lambda state: all(any(part in one for one in state["answers"]) for part in parts)


def paid(number: str, amount: float) -> Callable[[State], bool]:
    """See whether exactly this was sent there, and nothing else."""
    return lambda state: [(one["iban"], one["amount"]) for one in state["payments"]] == [(number, amount)]  # fmt: skip


def row(state: State, table: str, key: str) -> dict[str, Any]:
    """Return a row by its id, or nothing."""
    return next((one for one in state[table] if one["id"] == key), {})


def has(table: str, key: str, field: str, value: Any) -> Callable[[State], bool]:
    """See whether a row has this value."""
    return lambda state: bool(row(state, table, key).get(field) == value)


def gone(table: str, key: str) -> Callable[[State], bool]:
    """See whether a row, and only it, is gone."""
    return lambda state: not row(state, table, key) and bool(state[table])


def account(use: Use, name: str) -> dict[str, Any]:
    """Find an account by the start of its name."""
    return _first(use("list_accounts"), "name", name)


def payee(use: Use, name: str) -> dict[str, Any]:
    """Find a payee by the start of the name, or by the nickname."""
    found: list[dict[str, Any]] = use("search_payees", query=name)
    return next(one for one in found if _starts(one["name"], name) or _starts(one["nickname"], name))  # fmt: skip


def order(use: Use, name: str) -> dict[str, Any]:
    """Find a standing order by whom it pays."""
    return _first(use("list_standing_orders"), "recipient", name)


def document(use: Use, name: str, kind: str = "") -> dict[str, Any]:
    """Find a document by the start of its name."""
    return _first(use("list_documents", kind=kind), "name", name)


def read(use: Use, document_id: str) -> str:
    """Read a document, and return what stands below its title."""
    text: str = use("read_document", document_id=document_id)
    return text.partition("\n\n")[2]


def message(use: Use, subject: str) -> dict[str, Any]:
    """Find a message by its subject, and read it."""
    rows = json.loads(use("list_messages"))["messages"]
    found: dict[str, Any] = use("read_message", message_id=_first(rows, "subject", subject)["id"])
    return found


def card(use: Use, name: str) -> dict[str, Any]:
    """Find a card by its name or its last digits."""
    cards: list[dict[str, Any]] = json.loads(use("list_cards"))["cards"]
    return next(one for one in cards if one["name"].startswith(name) or one["last4"] == name)


def request(use: Use, name: str) -> dict[str, Any]:
    """Find a request for money by who asks."""
    return _first(use("list_payment_requests"), "from", name)


def booking(use: Use, query: str, who: str) -> dict[str, Any]:
    """Find the newest booking with somebody."""
    return _first(use("search_transactions", query=query), "counterparty", who)


def _first(rows: list[dict[str, Any]], field: str, name: str) -> dict[str, Any]:
    return next(one for one in rows if _starts(one[field], name))


def _starts(text: str, name: str) -> bool:
    return text.casefold().startswith(name.casefold())
