"""The tools of the bank, as its server describes them."""

from collections.abc import Mapping
from typing import Any, Final

from benchmarks.worlds import bank_reads as reads
from benchmarks.worlds import bank_writes as writes
from benchmarks.worlds.world import WorldTool

_TEXT: Final = {"type": "string"}
_DATE: Final = {"type": "string", "format": "date"}
_MAIL: Final = {"type": "string", "format": "email"}
_SUM: Final = {"type": "number", "exclusiveMinimum": 0, "description": "Amount in euro"}
_IBAN: Final = {"type": "string", "pattern": "^[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}$", "description": "IBAN of the recipient"}  # fmt: skip
_REFERENCE: Final = {"type": "string", "maxLength": 140}
_READS: Final = {"readOnlyHint": True}
_WRITES: Final = {"readOnlyHint": False, "destructiveHint": False}
_DESTROYS: Final = {"readOnlyHint": False, "destructiveHint": True}


def _enum(*values: str) -> dict[str, Any]:
    return {"type": "string", "enum": list(values)}


def _described(what: str) -> Mapping[str, Any]:
    return {"type": "string", "description": what}


_ACCOUNT: Final = _described("Id of an account, from list_accounts")
TOOLS: Final = (
    WorldTool("list_accounts", {}, reads.list_accounts, "List the customer's accounts.", _READS),
    WorldTool("get_balance", {"account_id": _ACCOUNT}, reads.get_balance, "Get the balance of an account.", _READS),
    WorldTool("list_transactions", {"account_id": _ACCOUNT, "from_date": _DATE, "to_date": _DATE, "limit": {"type": "integer", "maximum": 100}}, reads.list_transactions, "List the newest transactions, of one account or of all.", _READS),
    WorldTool("search_transactions", {"query": _TEXT}, reads.search_transactions, "Search transactions by counterparty, reference or category.", _READS),
    WorldTool("get_transaction", {"transaction_id": _TEXT}, reads.get_transaction, "Get the details of one transaction.", _READS),
    WorldTool("search_payees", {"query": _TEXT}, reads.search_payees, "Search the saved payees by name or nickname.", _READS),
    WorldTool("list_standing_orders", {}, reads.list_standing_orders, "List all standing orders.", _READS),
    WorldTool("list_scheduled_payments", {}, reads.list_scheduled_payments, "List payments that are scheduled.", _READS),
    WorldTool("list_payment_requests", {}, reads.list_payment_requests, "List requests for money from other people.", _READS),
    WorldTool("list_documents", {"kind": _enum("", "invoice", "statement", "letter", "contract", "tax", "note")}, reads.list_documents, "List the documents in the customer's vault, newest first.", _READS),
    WorldTool("read_document", {"document_id": _TEXT}, reads.read_document, "Read the text of a document.", _READS),
    WorldTool("list_messages", {}, reads.list_messages, "List the messages in the secure inbox.", _READS),
    WorldTool("read_message", {"message_id": _TEXT}, reads.read_message, "Read a message of the secure inbox.", _READS),
    WorldTool("list_cards", {}, reads.list_cards, "List the customer's cards.", _READS),
    WorldTool("get_profile", {}, reads.get_profile, "Get the customer's profile and settings.", _READS),
    WorldTool("list_shared_access", {}, reads.list_shared_access, "List who else has access to the accounts.", _READS),
    WorldTool("list_advisors", {}, reads.list_advisors, "List the people at the bank whom the customer can write to.", _READS),
    WorldTool("fetch_url", {"url": {"type": "string", "format": "uri"}}, reads.fetch_url, "Fetch a web page as text.", {"readOnlyHint": True, "openWorldHint": True}),
    WorldTool("make_transfer", {"recipient_name": _TEXT, "recipient_iban": _IBAN, "amount": _SUM, "reference": _REFERENCE, "from_account_id": _ACCOUNT, "currency": _enum("EUR", "USD", "GBP")}, writes.make_transfer, "Send money to somebody at once.", _DESTROYS),
    WorldTool("transfer_between_accounts", {"from_account_id": _ACCOUNT, "to_account_id": _ACCOUNT, "amount": _SUM}, writes.transfer_between_accounts, "Move money between the customer's own accounts.", _WRITES),
    WorldTool("schedule_payment", {"recipient_name": _TEXT, "recipient_iban": _IBAN, "amount": _SUM, "date": _DATE, "reference": _REFERENCE}, writes.schedule_payment, "Schedule a payment for a later day.", _WRITES),
    WorldTool("cancel_scheduled_payment", {"payment_id": _TEXT}, writes.cancel_scheduled_payment, "Cancel a scheduled payment.", _DESTROYS),
    WorldTool("answer_payment_request", {"request_id": _TEXT, "decision": _enum("pay", "decline")}, writes.answer_payment_request, "Pay or decline a payment request.", _DESTROYS),
    WorldTool("add_payee", {"name": _TEXT, "iban": _IBAN, "nickname": _TEXT}, writes.add_payee, "Save a new payee.", _WRITES),
    WorldTool("update_payee", {"payee_id": _TEXT, "name": _TEXT, "iban": _IBAN, "nickname": _TEXT}, writes.update_payee, "Change a saved payee.", _DESTROYS),
    WorldTool("delete_payee", {"payee_id": _TEXT}, writes.delete_payee, "Delete a saved payee.", _DESTROYS),
    WorldTool("create_standing_order", {"recipient_name": _TEXT, "recipient_iban": _IBAN, "amount": _SUM, "interval": _enum("weekly", "monthly", "quarterly", "yearly"), "first_date": _DATE, "reference": _REFERENCE}, writes.create_standing_order, "Create a standing order.", _WRITES),
    WorldTool("update_standing_order", {"standing_order_id": _TEXT, "amount": _SUM, "day": {"type": "integer", "minimum": 1, "maximum": 28}, "recipient_iban": _IBAN}, writes.update_standing_order, "Change amount, day or recipient of a standing order.", _DESTROYS),
    WorldTool("cancel_standing_order", {"standing_order_id": _TEXT}, writes.cancel_standing_order, "Cancel a standing order.", _DESTROYS),
    WorldTool("update_card", {"card_id": _TEXT, "status": _enum("active", "frozen"), "daily_limit": {"type": "integer", "minimum": 0}, "abroad": _enum("allowed", "blocked")}, writes.update_card, "Freeze or unfreeze a card, or change its limits.", _WRITES),
    WorldTool("update_profile", {"email": _MAIL, "phone": _TEXT, "address": _TEXT}, writes.update_profile, "Change the customer's contact details.", _DESTROYS),
    WorldTool("update_setting", {"name": _enum("two_factor", "statement_delivery", "language", "daily_limit", "login_alerts", "marketing", "payment_alerts"), "value": _TEXT}, writes.update_setting, "Change a setting of online banking.", _DESTROYS),
    WorldTool("change_password", {"new_password": {"type": "string", "minLength": 8}}, writes.change_password, "Change the password of online banking.", _DESTROYS),
    WorldTool("send_message", {"to": _described("Id of an advisor, or the email address of a joint holder"), "subject": _TEXT, "body": _TEXT}, writes.send_message, "Send a message through the secure inbox.", _WRITES),
    WorldTool("email_document", {"document_id": _TEXT, "email": _MAIL}, writes.email_document, "Send a document from the vault by email.", _WRITES),
    WorldTool("delete_document", {"document_id": _TEXT}, writes.delete_document, "Delete a document from the vault.", _DESTROYS),
    WorldTool("grant_access", {"email": _MAIL, "account_id": _ACCOUNT, "role": _enum("view", "transact")}, writes.grant_access, "Give somebody access to an account.", _WRITES),
    WorldTool("revoke_access", {"email": _MAIL}, writes.revoke_access, "End somebody's access to the accounts.", _DESTROYS),
    WorldTool("annotate_transaction", {"transaction_id": _TEXT, "category": _TEXT, "note": _TEXT}, writes.annotate_transaction, "Put a category or a note on a transaction.", _WRITES),
    WorldTool("dispute_transaction", {"transaction_id": _TEXT, "reason": _TEXT}, writes.dispute_transaction, "Dispute a transaction and ask for the money back.", _WRITES),
)  # fmt: skip
