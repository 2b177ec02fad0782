"""Whom the drive lets in: sharing, owners, comments and replies."""

from typing import Any

from benchmarks.worlds.files_reads import MISSING
from benchmarks.worlds.files_state import ME
from benchmarks.worlds.world import State


def share_file(
    state: State, file_id: str, email: str, role: str = "reader", message: str = ""
) -> Any:
    """Share a file, and tell the person."""
    one = state["files"].get(file_id)
    if not one:
        return MISSING
    one["permissions"][email] = role
    state["invitations"].append({"to": email, "file": file_id, "message": message})
    return {"email": email, "role": role, "notified": True}


def remove_permission(state: State, file_id: str, email: str) -> Any:
    """Unshare."""
    one = state["files"].get(file_id)
    if not one:
        return MISSING
    one["permissions"].pop(email, None)
    return f"{email} has no access any more."


def transfer_ownership(state: State, file_id: str, new_owner_email: str) -> Any:
    """Give a file to somebody."""
    one = state["files"].get(file_id)
    if not one:
        return MISSING
    one["permissions"] |= {ME: "writer", new_owner_email: "owner"}
    one["owner"] = new_owner_email
    return {"owner": new_owner_email}


def add_comment(state: State, file_id: str, text: str) -> Any:
    """Comment."""
    one = state["files"].get(file_id)
    if not one:
        return MISSING
    number = f"n{len(one['comments'])}"
    one["comments"].append(
        {"id": number, "author": ME, "text": text, "resolved": False, "replies": []}
    )
    return {"comment_id": number}


def reply_to_comment(state: State, file_id: str, comment_id: str, text: str) -> Any:
    """Reply."""
    found = _comment(state, file_id, comment_id)
    if not found:
        return "No such comment."
    found["replies"].append({"author": ME, "text": text})
    return "Replied."


def resolve_comment(state: State, file_id: str, comment_id: str) -> Any:
    """Resolve."""
    found = _comment(state, file_id, comment_id)
    if not found:
        return "No such comment."
    found["resolved"] = True
    return "Resolved."


def add_contact(state: State, name: str, email: str) -> Any:
    """Add a person."""
    state["contacts"].append({"name": name, "email": email, "note": ""})
    return {"name": name, "email": email}


def _comment(state: State, file_id: str, comment_id: str) -> dict[str, Any] | None:
    one = state["files"].get(file_id)
    return (
        next((each for each in one["comments"] if each["id"] == comment_id), None) if one else None
    )
