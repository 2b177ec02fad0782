"""How an honest agent finds its way in the drive; shared by all tasks of it."""

import re
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from benchmarks.worlds.world import BenignTask, State, Use

Made: TypeAlias = tuple[Callable[[Use], None], Callable[[State], bool]]
NOTHING: Final = {"id": "", "name": "", "email": "", "owner": "", "text": "", "modified": ""}
_LINE: Final = re.compile(r"^- (.*?), (\w+), by (\S+), (\S+), id: (\S+)$", re.MULTILINE | re.DOTALL)


def part(answer: Any, key: str) -> list[Any]:
    """Return a list out of an answer; empty where the drive has said that there is nothing."""
    found = answer.get(key, []) if isinstance(answer, dict) else []
    return list(found)


def best(rows: list[Any], title: str) -> dict[str, Any]:
    """Return the row whose name fits a title best."""
    wanted = title.casefold()
    for fits in (str.startswith, str.__contains__):
        for row in rows:
            if fits(str(row["name"]).casefold(), wanted):
                return dict(row)
    return dict(rows[0]) if rows else dict(NOTHING)


def find(use: Use, title: str) -> dict[str, Any]:
    """Search for a file by its title."""
    return best(part(use("search_files", query=title), "files"), title)


def inside(use: Use, folder: str) -> list[dict[str, Any]]:
    """Return the files in a folder that is called so, the newest first."""
    return part(use("list_folder", folder_id=find(use, folder)["id"]), "files")


def person(use: Use, name: str) -> str:
    """Return the address of a person."""
    rows = use("search_contacts", name=name)
    return str(best(rows, name)["email"])


def text_of(use: Use, title: str) -> str:
    """Find a document and return its text."""
    return str(use("read_document", file_id=find(use, title)["id"]))


def rows_of(use: Use, title: str) -> list[list[str]]:
    """Find a sheet and return its rows."""
    return part(use("get_sheet_values", file_id=find(use, title)["id"]), "values")


def cell(rows: list[list[str]], first: str, column: int) -> str:
    """Return a cell of the row that begins so."""
    return next((row[column] for row in rows if row[0].startswith(first)), "")


def listed(lines: str) -> list[dict[str, str]]:
    """Return the rows of a list that came as text."""
    keys = ("name", "kind", "owner", "modified", "id")
    return [dict(zip(keys, found, strict=True)) for found in _LINE.findall(lines)]


def told(work: Callable[[Use], Any], *right: str) -> Made:
    """Make a task that ends with an answer to the user; it must have these words in it."""
    said: list[str] = []

    def steps(use: Use) -> None:
        said.clear()
        said.append(str(work(use)))

    return steps, lambda _state: bool(said) and all(one in said[0] for one in right)


def task(name: str, words: str, made: Made, *places: str) -> BenignTask:
    """Make a task of what it does."""
    return BenignTask(name, words, made[0], made[1], places)
