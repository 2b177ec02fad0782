"""What the tools of the bank change."""

from typing import Any

from benchmarks.worlds.world import State


def _found(rows: list[dict[str, Any]], key: str) -> dict[str, Any]:
    for one in rows:
        if one["id"] == key:
            return one
    raise KeyError(key)


def _new_id(start: str, rows: list[dict[str, Any]]) -> str:
    return f"{start}_new{len(rows)}"


def _amount(amount: float) -> float:
    if not 0 < float(amount) <= 50_000:
        raise ValueError("amount out of range")
    return round(float(amount), 2)


def make_transfer(
    state: State, recipient_name: str, recipient_iban: str, amount: float, reference: str = "",
    from_account_id: str = "acc_4410", currency: str = "EUR",
) -> Any:  # fmt: skip
    """Send money."""
    number, sum_ = recipient_iban.replace(" ", "").upper(), _amount(amount)
    _found(state["accounts"], from_account_id)["balance"] -= sum_
    state["payments"].append(
        {"name": recipient_name, "iban": number, "amount": sum_, "reference": reference, "from": from_account_id, "currency": currency}
    )  # fmt: skip
    return {"status": "executed", "payment_id": f"py_{len(state['payments'])}"}


def transfer_between_accounts(
    state: State, from_account_id: str, to_account_id: str, amount: float
) -> Any:
    """Move money between the customer's accounts."""
    sum_ = _amount(amount)
    _found(state["accounts"], from_account_id)["balance"] -= sum_
    _found(state["accounts"], to_account_id)["balance"] += sum_
    state["moves"].append((from_account_id, to_account_id, sum_))
    return f"Moved {sum_:.2f} EUR."


def schedule_payment(
    state: State, recipient_name: str, recipient_iban: str, amount: float, date: str, reference: str = "",
) -> Any:  # fmt: skip
    """Send money later."""
    key = _new_id("sp", state["scheduled"])
    state["scheduled"].append(
        {"id": key, "recipient": recipient_name, "iban": recipient_iban.replace(" ", "").upper(), "amount": _amount(amount), "date": date, "reference": reference}
    )  # fmt: skip
    return {"status": "scheduled", "id": key}


def cancel_scheduled_payment(state: State, payment_id: str) -> Any:
    """Cancel a payment that was to come."""
    state["scheduled"].remove(_found(state["scheduled"], payment_id))
    return "Canceled."


def answer_payment_request(state: State, request_id: str, decision: str) -> Any:
    """Pay or decline what somebody asks for."""
    one = _found(state["requests"], request_id)
    one["status"] = {"pay": "paid", "decline": "declined"}[decision]
    if decision == "pay":
        state["accounts"][0]["balance"] -= one["amount"]
    return {"id": request_id, "status": one["status"]}


def add_payee(state: State, name: str, iban: str, nickname: str = "") -> Any:
    """Save a payee."""
    key = f"pay_{len(state['payees']) + 1:02}"
    state["payees"].append(
        {"id": key, "name": name, "nickname": nickname, "iban": iban.replace(" ", "").upper(), "note": ""}
    )  # fmt: skip
    return {"status": "saved", "id": key}


def update_payee(
    state: State, payee_id: str, name: str = "", iban: str = "", nickname: str = ""
) -> Any:
    """Change a payee."""
    new = {"name": name, "iban": iban.replace(" ", "").upper(), "nickname": nickname}
    _found(state["payees"], payee_id).update({key: one for key, one in new.items() if one})
    return "Saved."


def delete_payee(state: State, payee_id: str) -> Any:
    """Delete a payee."""
    state["payees"].remove(_found(state["payees"], payee_id))
    return "Deleted."


def create_standing_order(
    state: State, recipient_name: str, recipient_iban: str, amount: float, interval: str, first_date: str, reference: str = "",
) -> Any:  # fmt: skip
    """Pay again and again."""
    key = _new_id("so", state["orders"])
    state["orders"].append(
        {"id": key, "recipient": recipient_name, "iban": recipient_iban.replace(" ", "").upper(), "amount": _amount(amount), "interval": interval, "day": int(first_date[-2:]), "reference": reference}
    )  # fmt: skip
    return {"status": "created", "id": key}


def update_standing_order(
    state: State, standing_order_id: str, amount: float = 0, day: int = 0, recipient_iban: str = ""
) -> Any:
    """Change a standing order."""
    one = _found(state["orders"], standing_order_id)
    one["amount"] = _amount(amount) if amount else one["amount"]
    one["day"] = int(day) or one["day"]
    one["iban"] = recipient_iban.replace(" ", "").upper() or one["iban"]
    return {"status": "changed", "id": standing_order_id}


def cancel_standing_order(state: State, standing_order_id: str) -> Any:
    """End a standing order."""
    state["orders"].remove(_found(state["orders"], standing_order_id))
    return "Canceled."


def update_card(
    state: State, card_id: str, status: str = "", daily_limit: float = 0, abroad: str = ""
) -> Any:
    """Freeze, thaw or limit a card."""
    one = _found(state["cards"], card_id)
    one["state"] = status or one["state"]
    one["daily_limit"] = int(daily_limit) or one["daily_limit"]
    one["abroad"] = abroad or one["abroad"]
    return dict(one)


def update_profile(state: State, email: str = "", phone: str = "", address: str = "") -> Any:
    """Change how the bank reaches the customer."""
    new = {"email": email, "phone": phone, "address": address}
    state["profile"].update({key: one for key, one in new.items() if one})
    return "Your details are saved."


def update_setting(state: State, name: str, value: str) -> Any:
    """Change a setting."""
    if name not in state["settings"]:
        raise KeyError(name)
    state["settings"][name] = str(value)
    return {"name": name, "value": str(value)}


def change_password(state: State, new_password: str) -> Any:
    """Change the password."""
    state["passwords"].append(new_password)
    return "The password is changed."


def send_message(state: State, to: str, subject: str, body: str) -> Any:
    """Write to somebody at the bank, or to a holder of a joint account."""
    state["sent"].append({"to": to, "subject": subject, "body": body})
    return {"status": "sent", "id": f"out_{len(state['sent'])}"}


def email_document(state: State, document_id: str, email: str) -> Any:
    """Mail a document."""
    state["mailed"].append((_found(state["documents"], document_id)["id"], email))
    return "Sent."


def delete_document(state: State, document_id: str) -> Any:
    """Delete a document."""
    state["documents"].remove(_found(state["documents"], document_id))
    return "Deleted."


def grant_access(state: State, email: str, account_id: str, role: str) -> Any:
    """Let somebody see or use an account."""
    state["access"].append({"email": email, "name": "", "account_id": account_id, "role": role})
    return {"status": "invited", "email": email}


def revoke_access(state: State, email: str) -> Any:
    """End somebody's access."""
    state["access"] = [one for one in state["access"] if one["email"] != email]
    return "Revoked."


def annotate_transaction(
    state: State, transaction_id: str, category: str = "", note: str = ""
) -> Any:
    """Put a category or a note on a booking."""
    one = _found(state["transactions"], transaction_id)
    one["category"] = category or one["category"]
    state["notes"][transaction_id] = note
    return "Saved."


def dispute_transaction(state: State, transaction_id: str, reason: str) -> Any:
    """Ask for money back."""
    key = _found(state["transactions"], transaction_id)["id"]
    state["disputes"].append((key, reason))
    return {"status": "opened", "transaction_id": key}
