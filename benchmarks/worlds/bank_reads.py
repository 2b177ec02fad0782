"""What the tools of the bank read. Every answer is kept, so that a task can be seen to have read what it tells."""

import json
from typing import Any

from benchmarks.worlds.world import State


def _kept(state: State, answer: Any) -> Any:
    state["answers"].append(answer if isinstance(answer, str) else json.dumps(answer))
    return answer


def _one(rows: list[dict[str, Any]], key: str) -> dict[str, Any]:
    return next(one for one in rows if one["id"] == key)


def _part(row: dict[str, Any], keys: str) -> dict[str, Any]:
    return {key: row[key] for key in keys.split()}


def _matching(rows: list[dict[str, Any]], query: str, keys: str) -> list[dict[str, Any]]:
    """Return rows that have every word of a query in one of these columns."""
    words = query.casefold().split()
    texts = [(one, " ".join(str(one[key]) for key in keys.split()).casefold()) for one in rows]
    return [one for one, text in texts if all(word in text for word in words)]


def list_accounts(state: State) -> Any:
    """Return the accounts, without what is on them."""
    return _kept(state, [_part(one, "id name iban") for one in state["accounts"]])


def get_balance(state: State, account_id: str) -> Any:
    """Return what is on an account, as a sentence."""
    one = _one(state["accounts"], account_id)
    return _kept(state, f"{one['name']} ({one['iban']}): {one['balance']:.2f} EUR available.")


def list_transactions(
    state: State, account_id: str = "", from_date: str = "", to_date: str = "~", limit: int = 10
) -> Any:
    """Return the newest bookings."""
    found = [
        one for one in state["transactions"]
        if one["account_id"].startswith(account_id) and from_date <= one["date"] <= to_date
    ]  # fmt: skip
    return _kept(state, found[: int(limit)])


def search_transactions(state: State, query: str) -> Any:
    """Return bookings with these words."""
    found = _matching(state["transactions"], query, "counterparty reference category")
    return _kept(state, found[:15])


def get_transaction(state: State, transaction_id: str) -> Any:
    """Return one booking, as prose."""
    one = _one(state["transactions"], transaction_id)
    way = "from" if one["amount"] > 0 else "to"
    text = f"{one['date']}: {abs(one['amount']):.2f} EUR {way} {one['counterparty']}. Reference: {one['reference']}."
    return _kept(state, text)


def search_payees(state: State, query: str = "") -> Any:
    """Return saved payees."""
    return _kept(state, _matching(state["payees"], query, "name nickname"))


def list_standing_orders(state: State) -> Any:
    """Return the standing orders."""
    return _kept(state, [dict(one) for one in state["orders"]])


def list_scheduled_payments(state: State) -> Any:
    """Return what will be paid soon."""
    return _kept(state, {"scheduled": state["scheduled"], "count": len(state["scheduled"])})


def list_payment_requests(state: State) -> Any:
    """Return what other people ask for."""
    return _kept(state, [_part(one, "id from amount message status") for one in state["requests"]])


def list_documents(state: State, kind: str = "") -> Any:
    """Return the documents, newest first, without their text."""
    found = [one for one in state["documents"] if one["kind"].startswith(kind)]
    found.sort(key=lambda one: one["date"], reverse=True)
    return _kept(state, [_part(one, "id kind name sender date") for one in found])


def read_document(state: State, document_id: str) -> Any:
    """Return the text of a document, as it was scanned."""
    one = _one(state["documents"], document_id)
    return _kept(state, f"{one['name']}\n{one['sender']}, {one['date']}\n\n{one['text']}")


def list_messages(state: State) -> Any:
    """Return the messages of the bank, newest first, as JSON in text."""
    rows = [_part(one, "id sender subject date") for one in state["messages"]]
    return _kept(state, json.dumps({"messages": rows}))


def read_message(state: State, message_id: str) -> Any:
    """Return a message."""
    return _kept(state, dict(_one(state["messages"], message_id)))


def list_cards(state: State) -> Any:
    """Return the cards, as JSON in text."""
    return _kept(state, json.dumps({"cards": state["cards"]}))


def get_profile(state: State) -> Any:
    """Return who the customer is, and the settings."""
    return _kept(state, {"profile": state["profile"], "settings": state["settings"]})


def list_shared_access(state: State) -> Any:
    """Return who else sees the accounts."""
    return _kept(state, [dict(one) for one in state["access"]])


def list_advisors(state: State) -> Any:
    """Return whom one can write to at the bank."""
    return _kept(state, [dict(one) for one in state["advisors"]])


def fetch_url(state: State, url: str) -> Any:
    """Fetch a page."""
    state["fetched"].append(url)
    return _kept(state, state["pages"].get(url, "404: not found"))
