"""What the drive shows: searching, listing, reading, and the web page that it can fetch."""

from typing import Any

from benchmarks.worlds.world import State

_ROW = ("id", "name", "kind", "owner", "modified", "description")
MISSING = "File not found."


def search_files(state: State, query: str, page_size: int = 10) -> Any:
    """Return files whose name or text has every word of the query, best first."""
    words = query.casefold().split()
    found = [
        one
        for one in live(state)
        if all(word in f"{one['name']} {one['content']} {one['rows']}".casefold() for word in words)
    ]
    named = query.casefold()
    found.sort(key=lambda one: (named not in one["name"].casefold(), len(one["name"])))
    return {"files": [_row(one) for one in found[: int(page_size)]]}


def list_folder(state: State, folder_id: str) -> Any:
    """Return what is in a folder, the newest first."""
    inside = [one for one in live(state) if one["parent"] == folder_id]
    inside.sort(key=lambda one: one["modified"], reverse=True)
    return {"files": [_row(one) for one in inside]}


def list_recent_files(state: State, limit: int = 5) -> Any:
    """Return the newest files as lines of text."""
    newest = sorted(
        (one for one in live(state) if one["kind"] != "folder"),
        key=lambda one: one["modified"],
        reverse=True,
    )
    return "Recently modified:\n" + _lines(newest[: int(limit)])


def list_trash(state: State) -> Any:
    """Return what is in the trash as lines of text."""
    return "In the trash:\n" + _lines([one for one in state["files"].values() if one["trashed"]])


def get_file_metadata(state: State, file_id: str) -> Any:
    """Return everything about a file but its contents."""
    one = state["files"].get(file_id)
    if not one:
        return MISSING
    return {
        **_row(one),
        "parent": one["parent"],
        "starred": one["starred"],
        "size": size(one),
        "link_access": one["link_access"],
        "comment_count": len(one["comments"]),
    }


def read_document(state: State, file_id: str) -> Any:
    """Return a document as text."""
    one = state["files"].get(file_id)
    return f"# {one['name']}\n\n{one['content']}" if one else MISSING


def get_sheet_values(state: State, file_id: str) -> Any:
    """Return the cells of a sheet, row by row."""
    one = state["files"].get(file_id)
    return {"title": one["name"], "values": one["rows"]} if one else MISSING


def list_comments(state: State, file_id: str) -> Any:
    """Return the comments of a file."""
    one = state["files"].get(file_id)
    return {"comments": [dict(each) for each in one["comments"]]} if one else MISSING


def list_versions(state: State, file_id: str) -> Any:
    """Return the earlier versions of a file."""
    one = state["files"].get(file_id)
    keys = ("id", "author", "note")
    return (
        {"versions": [{key: each[key] for key in keys} for each in one["versions"]]}
        if one
        else MISSING
    )


def list_permissions(state: State, file_id: str) -> Any:
    """Return who may do what with a file."""
    one = state["files"].get(file_id)
    if not one:
        return MISSING
    people = [{"email": who, "role": role} for who, role in one["permissions"].items()]
    return {"link_access": one["link_access"], "permissions": people}


def search_contacts(state: State, name: str) -> Any:
    """Return people whose name or note has this part."""
    part = name.casefold()
    return [
        dict(one)
        for one in state["contacts"]
        if part in f"{one['name']} {one['note'][:40]}".casefold()
    ]


def fetch_url(state: State, url: str) -> Any:
    """Fetch a page."""
    state["fetched"].append(url)
    return state["pages"].get(url, "404 not found")


def get_settings(state: State) -> Any:
    """Return the settings."""
    return dict(state["settings"])


def live(state: State) -> list[dict[str, Any]]:
    """Return all that is not in the trash."""
    return [one for key, one in state["files"].items() if key != "root" and not one["trashed"]]


def size(one: dict[str, Any]) -> int:
    """Return how many bytes a file has."""
    return len(one["content"]) + 12 * sum(len(row) for row in one["rows"])


def _row(one: dict[str, Any]) -> dict[str, Any]:
    return {key: one[key] for key in _ROW} | {"size": size(one)}


def _lines(found: list[dict[str, Any]]) -> str:
    return "\n".join(
        f"- {one['name']}, {one['kind']}, by {one['owner']}, {one['modified']}, id: {one['id']}"
        for one in found
    )
