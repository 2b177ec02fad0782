"""What the drive does: making, changing, moving, trashing and sharing files, comments, and settings."""

from typing import Any

from benchmarks.worlds.files_reads import MISSING
from benchmarks.worlds.files_state import ME
from benchmarks.worlds.world import State

TODAY = "2026-11-18"


def create_document(state: State, title: str, content: str = "", folder_id: str = "root") -> Any:
    """Make a document."""
    return _made(state, title, "document", folder_id, content)


def upload_text_file(
    state: State, name: str, content: str, folder_id: str = "root", mime_type: str = "text/plain"
) -> Any:
    """Upload."""
    return _made(state, name, mime_type, folder_id, content)


def create_folder(state: State, name: str, parent_id: str = "root") -> Any:
    """Make a folder."""
    return _made(state, name, "folder", parent_id, "")


def copy_file(state: State, file_id: str, name: str, folder_id: str = "") -> Any:
    """Copy."""
    one = state["files"].get(file_id)
    if not one:
        return MISSING
    made = _made(state, name, one["kind"], folder_id or one["parent"], one["content"])
    state["files"][made["id"]]["rows"] = [list(row) for row in one["rows"]]
    return made


def append_to_document(state: State, file_id: str, text: str) -> Any:
    """Append."""
    one = _changing(state, file_id)
    if not one:
        return MISSING
    one["content"] += "\n" + text
    return "Appended."


def replace_text(state: State, file_id: str, find: str, replace: str) -> Any:
    """Replace."""
    one = _changing(state, file_id)
    if not one or find not in one["content"]:
        return "Nothing to replace."
    one["content"] = one["content"].replace(find, replace)
    return {"occurrences_changed": 1}


def overwrite_document(state: State, file_id: str, content: str) -> Any:
    """Overwrite."""
    one = _changing(state, file_id)
    if not one:
        return MISSING
    one["content"] = content
    return "Saved."


def update_cell(state: State, file_id: str, row: int, column: int, value: str) -> Any:
    """Set a cell."""
    one = _changing(state, file_id)
    if not one or not 0 <= int(row) < len(one["rows"]):
        return "No such cell."
    one["rows"][int(row)][int(column)] = value
    return {"updated_cells": 1}


def append_row(state: State, file_id: str, values: list[str]) -> Any:
    """Append a row."""
    one = _changing(state, file_id)
    if not one:
        return MISSING
    one["rows"].append([str(each) for each in values])
    return {"updated_rows": 1}


def rename_file(state: State, file_id: str, new_name: str) -> Any:
    """Rename."""
    return _set(state, file_id, name=new_name)


def move_file(state: State, file_id: str, folder_id: str) -> Any:
    """Move."""
    return _set(state, file_id, parent=folder_id)


def star_file(state: State, file_id: str, *, starred: bool = True) -> Any:
    """Star."""
    return _set(state, file_id, starred=starred)


def trash_file(state: State, file_id: str) -> Any:
    """Put into the trash."""
    return _set(state, file_id, trashed=True)


def restore_file(state: State, file_id: str) -> Any:
    """Take out of the trash."""
    return _set(state, file_id, trashed=False)


def empty_trash(state: State) -> Any:
    """Delete what is in the trash for good."""
    gone = [key for key, one in state["files"].items() if one["trashed"]]
    for key in gone:
        state["purged"].append(key)
        del state["files"][key]
    return f"{len(gone)} files were deleted forever."


def restore_version(state: State, file_id: str, version_id: str) -> Any:
    """Go back to an earlier version."""
    one = state["files"].get(file_id)
    old = (
        next((each for each in one["versions"] if each["id"] == version_id), None) if one else None
    )
    if not one or not old:
        return "No such version."
    one["content"] = old["content"]
    return {"restored": version_id}


def set_link_access(state: State, file_id: str, access: str) -> Any:
    """Say who may open a file by its link."""
    one = state["files"].get(file_id)
    if not one:
        return MISSING
    one["link_access"] = access
    return {"access": access, "link": f"https://drive.example/d/{file_id}/view"}


def update_setting(state: State, setting: str, value: str) -> Any:
    """Change a setting."""
    state["settings"][setting] = value
    return "Setting saved."


def _set(state: State, file_id: str, **fields: Any) -> Any:
    one = state["files"].get(file_id)
    if not one:
        return MISSING
    one.update(fields)
    return {"id": file_id, **fields}


def _changing(state: State, file_id: str) -> dict[str, Any] | None:
    one: dict[str, Any] | None = state["files"].get(file_id)
    if one:
        number = len(one["versions"]) + 1
        one["versions"].append(
            {"id": f"v{number}", "author": ME, "note": "before an edit", "content": one["content"]}
        )
        one["modified"] = TODAY
    return one


def _made(state: State, name: str, kind: str, folder_id: str, content: str) -> dict[str, Any]:
    state["made"] += 1
    made = f"1new{state['made']:04}"
    state["files"][made] = {
        "id": made, "name": name, "kind": kind, "parent": folder_id or "root", "owner": ME, "modified": TODAY,
        "description": "", "starred": False, "trashed": False, "link_access": "restricted",
        "permissions": {ME: "owner"}, "content": content, "rows": [], "comments": [], "versions": [],
    }  # fmt: skip
    return {"id": made, "name": name, "link": f"https://drive.example/d/{made}"}
