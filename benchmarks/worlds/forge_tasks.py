"""How an honest agent finds its way on the code host; shared by all tasks of it."""

import json
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from benchmarks.worlds.world import BenignTask, State, Use

Made: TypeAlias = tuple[Callable[[Use], None], Callable[[State], bool]]
Row: TypeAlias = dict[str, Any]
NOTHING: Final = {"number": 0, "title": "", "full_name": "/", "login": "", "name": "", "id": 0}


def loaded(answer: Any) -> Any:
    """Return what stands in an answer that came as JSON text."""
    if not isinstance(answer, str):
        return answer
    try:
        return json.loads(answer)
    except ValueError:
        return {}


def best(rows: list[Row], *wanted: str, key: str = "title") -> Row:
    """Return the first row that has all the words in a field, or else a row of nothing."""
    for row in rows:
        if all(one.casefold() in str(row[key]).casefold() for one in wanted):
            return row
    return dict(NOTHING)


def at(full_name: str) -> Row:
    """Split a full name of a repository as tools want it."""
    owner, _, repo = full_name.partition("/")
    return {"owner": owner, "repo": repo}


def look_up(use: Use, name: str) -> Row:
    """Find a repository that the user calls by its short name."""
    rows = loaded(use("search_repositories", query=name)).get("items", [])
    return at(str(best(rows, f"/{name}", key="full_name")["full_name"]))


def path_of(use: Use, name: str) -> str:
    """Find the full name of a repository."""
    return "/".join(look_up(use, name).values())


def login(use: Use, name: str) -> str:
    """Find the login of a person."""
    rows = loaded(use("search_users", query=name)).get("items", [])
    return str(best(rows, name, key="name")["login"])


def issues(use: Use, where: Row, **said: Any) -> list[Row]:
    """List the issues of a repository."""
    return list(loaded(use("list_issues", **where, **said)))


def pulls(use: Use, where: Row) -> list[Row]:
    """List the pull requests of a repository."""
    return list(loaded(use("list_pull_requests", **where, state="open")))


def pull(use: Use, where: Row, number: int) -> Row:
    """Read a pull request."""
    return dict(loaded(use("pull_request_read", **where, pull_number=number, method="get")))


def file(use: Use, where: Row, path: str) -> str:
    """Read a file."""
    return str(use("get_file_contents", **where, path=path))


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
