"""Tasks on the code host whose user pastes the address of a page of it."""

import re
from typing import Any, Final

from benchmarks.worlds.forge_state import DOCS, HARBOR, INFRA, ME
from benchmarks.worlds.forge_tasks import Made, Row, best, issues, loaded, login, pulls, task, told
from benchmarks.worlds.world import State, Use

_HOST: Final = "https://forge.example"


def _from(link: str) -> tuple[Row, str]:
    """Read an address of a page: the repository, and what comes last."""
    owner, repo, *rest = link.removeprefix(f"{_HOST}/").split("/")
    return {"owner": owner, "repo": repo}, "/".join(rest)


def _number(rest: str) -> int:
    found = re.search(r"\d+", rest)
    return int(found[0]) if found else 0


def _thread(state: State, full_name: str, number: int) -> Any:
    where = state["repos"][full_name]
    return {**where["issues"], **where["pulls"]}[number]


def _sums_up(link: str, *right: str) -> Made:
    def work(use: Use) -> Any:
        where, rest = _from(link)
        one = use("get_issue", **where, issue_number=_number(rest))
        said = use("get_issue_comments", **where, issue_number=_number(rest))["comments"]
        return one["title"], one["body"], said

    return told(work, *right)


def _shows_file(link: str, *right: str) -> Made:
    def work(use: Use) -> Any:
        where, rest = _from(link)
        path = rest.removeprefix("blob/main/")
        return use("get_file_contents", **where, path=path, ref="main")

    return told(work, *right)


def _log_of(link: str, *right: str) -> Made:
    def work(use: Use) -> Any:
        where, rest = _from(link)
        return use("get_job_logs", **where, run_id=_number(rest))

    return told(work, *right)


def _replies(link: str, body: str, full_name: str, number: int) -> Made:
    def steps(use: Use) -> None:
        where, rest = _from(link)
        use("get_issue_comments", **where, issue_number=_number(rest))
        use("add_issue_comment", **where, issue_number=_number(rest), body=body)

    return steps, lambda state: {"author": ME, "body": body} in _thread(state, full_name, number)["comments"]  # fmt: skip


def _merges(link: str, full_name: str, number: int) -> Made:
    def steps(use: Use) -> None:
        where, rest = _from(link)
        use("merge_pull_request", **where, pull_number=_number(rest), merge_method="merge")

    return steps, lambda state: bool(_thread(state, full_name, number)["merged"])


def _gives(link: str, name: str, full_name: str, number: int, who: str) -> Made:
    def steps(use: Use) -> None:
        where, rest = _from(link)
        use("update_issue", **where, issue_number=_number(rest), assignees=[login(use, name)])

    return steps, lambda state: _thread(state, full_name, number)["assignees"] == [who]


def _tidies(link: str, words: str, full_name: str, number: int) -> Made:
    """Close as duplicate, and say of what."""

    def steps(use: Use) -> None:
        where, rest = _from(link)
        other = best(issues(use, where), words)["number"]
        use("add_issue_comment", **where, issue_number=_number(rest), body=f"Duplicate of #{other}")
        use("update_issue", **where, issue_number=_number(rest), state="closed")

    return (
        steps,
        lambda state: (
            _thread(state, full_name, number)["state"] == "closed"
            and _thread(state, full_name, number)["comments"][-1]["body"] == "Duplicate of #101"
        ),
    )


def _welcomes(link: str, full_name: str, number: int) -> Made:
    """Thank the author of a pull request by name."""

    def steps(use: Use) -> None:
        where, rest = _from(link)
        rows = [one for one in pulls(use, where) if one["number"] == _number(rest)]
        found = loaded(use("search_users", query=rows[0]["author"]))["items"][0]["name"]
        use("add_issue_comment", **where, issue_number=_number(rest), body=f"Thank you, {found}!")

    return steps, lambda state: any(
        one["body"].startswith("Thank you, Pia")
        for one in _thread(state, full_name, number)["comments"]
    )


LINKING: Final = (
    task("link sum up", "https://forge.example/tidewater/harbor/issues/90 tldr?", _sums_up(f"{_HOST}/tidewater/harbor/issues/90", "satellite", "Any news"), "issue title", "issue body", "comment"),
    task("link sum up infra", "was steht in https://forge.example/tidewater/infra/issues/12", _sums_up(f"{_HOST}/tidewater/infra/issues/12", "2026-12-01")),
    task("link file", "explain https://forge.example/tidewater/harbor/blob/main/src/harbor/sync.py to me", _shows_file(f"{_HOST}/tidewater/harbor/blob/main/src/harbor/sync.py", "RETRIES"), "file content"),
    task("link run", "why red? https://forge.example/tidewater/harbor/actions/runs/5504", _log_of(f"{_HOST}/tidewater/harbor/actions/runs/5504", "rich"), "log"),
    task("link reply", "reply 'Can you try 2.4.1?' at https://forge.example/tidewater/harbor/issues/98", _replies(f"{_HOST}/tidewater/harbor/issues/98", "Can you try 2.4.1?", HARBOR, 98), "comment"),
    task("link merge", "merge https://forge.example/tidewater/docs/pull/23", _merges(f"{_HOST}/tidewater/docs/pull/23", DOCS, 23)),
    task("link assign", "https://forge.example/tidewater/infra/issues/14 -> Samuel", _gives(f"{_HOST}/tidewater/infra/issues/14", "Samuel", INFRA, 14, "sam-okafor"), "profile"),
    task("link tidy", "close https://forge.example/tidewater/harbor/issues/77 as duplicate of the timeout issue there and say so", _tidies(f"{_HOST}/tidewater/harbor/issues/77", "timeout", HARBOR, 77), "issue title"),
    task("link welcome", "thank the author of https://forge.example/tidewater/harbor/pull/102 by name", _welcomes(f"{_HOST}/tidewater/harbor/pull/102", HARBOR, 102), "pull title", "profile"),
)  # fmt: skip
