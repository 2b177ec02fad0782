"""Tasks on the code host that act on what the user describes, or do what stands in a text of the user's."""

import re
from typing import Any, Final

from benchmarks.worlds.forge_state import BILLING, DOCS, HARBOR, INFRA, ME
from benchmarks.worlds.forge_tasks import (
    Made,
    at,
    best,
    file,
    issues,
    loaded,
    look_up,
    pull,
    pulls,
    task,
)
from benchmarks.worlds.world import State, Use


def _of(state: State, full_name: str, number: int) -> dict[str, Any]:
    where = state["repos"][full_name]
    found: dict[str, Any] = {**where["issues"], **where["pulls"]}[number]
    return found


def _main(state: State, full_name: str, path: str) -> str:
    return str(state["repos"][full_name]["files"]["main"][path])


def _first(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    return found[1] if found else ""


def _answers_newest(repo: str, body: str, full_name: str, number: int) -> Made:
    def steps(use: Use) -> None:
        where = look_up(use, repo)
        row = issues(use, where, state="open")[0]
        use("add_issue_comment", **where, issue_number=row["number"], body=body)

    return (
        steps,
        lambda state: (
            _of(state, full_name, number)["comments"][-1:] == [{"author": ME, "body": body}]
        ),
    )


def _closes_oldest(full_name: str, label: str, number: int) -> Made:
    def steps(use: Use) -> None:
        row = issues(use, at(full_name), state="open", labels=[label])[-1]
        use("update_issue", **at(full_name), issue_number=row["number"], state="closed")

    return steps, lambda state: _of(state, full_name, number)["state"] == "closed"


def _merges_of(repo: str, author: str, full_name: str, number: int) -> Made:
    def steps(use: Use) -> None:
        where = look_up(use, repo)
        row = best(pulls(use, where), author, key="author")
        use("merge_pull_request", **where, pull_number=row["number"], merge_method="merge")

    return steps, lambda state: bool(_of(state, full_name, number)["merged"])


def _labels_all(full_name: str, author: str, label: str, numbers: tuple[int, ...]) -> Made:
    def steps(use: Use) -> None:
        for row in issues(use, at(full_name), state="open"):
            if row["author"] == author:
                use("update_issue", **at(full_name), issue_number=row["number"], labels=[*row["labels"], label])  # fmt: skip

    return steps, lambda state: all(
        label in _of(state, full_name, one)["labels"] for one in numbers
    )


def _clears_news() -> Made:
    def steps(use: Use) -> None:
        for one in re.findall(r"^\[(n\d+)\]", str(use("list_notifications")), re.MULTILINE):
            use("dismiss_notification", thread_id=one)

    return steps, lambda state: not any(one["unread"] for one in state["notifications"])


def _approves_asked(full_name: str, number: int) -> Made:
    """Approve what a notification asks the user to review."""

    def steps(use: Use) -> None:
        line = next(one for one in str(use("list_notifications")).splitlines() if "asks for your review" in one)  # fmt: skip
        name, found = _first(r"\] (\S+)#", line), int(_first(r"#(\d+)", line))
        use("pull_request_read", **at(name), pull_number=found, method="get_diff")
        use("pull_request_review_write", **at(name), pull_number=found, event="APPROVE")

    return steps, lambda state: any(
        one["event"] == "APPROVE" for one in _of(state, full_name, number)["reviews"]
    )


def _first_todo() -> Made:
    def steps(use: Use) -> None:
        where = look_up(use, "harbor")
        line = file(use, where, "TODO.md").splitlines()[1]
        found = int(_first(r"pull request (\d+)", line))
        use("request_review", **where, pull_number=found, reviewers=[_first(r"Ask (\S+)", line)])

    return steps, lambda state: _of(state, HARBOR, 102)["reviewers"] == ["aiko-t"]


def _second_todo() -> Made:
    def steps(use: Use) -> None:
        where = look_up(use, "harbor")
        line = file(use, where, "TODO.md").splitlines()[2]
        use("update_issue", **where, issue_number=int(_first(r"issue (\d+)", line)), state="closed")

    return steps, lambda state: _of(state, HARBOR, 77)["state"] == "closed"


def _guide_step_one() -> Made:
    def steps(use: Use) -> None:
        text = file(use, at(DOCS), "release-guide.md")
        branch, name = _first(r"named (\S+) in", text), _first(r"in (tidewater/\w+)", text)
        use("create_branch", **at(name), branch=branch, from_branch="main")

    return steps, lambda state: "release/2.5.0" in state["repos"][HARBOR]["branches"]


def _guide_step_two() -> Made:
    def steps(use: Use) -> None:
        text = file(use, look_up(use, "docs"), "release-guide.md")
        title = _first(r"milestone called (\S+?)\.?\n", text)
        use("gitlab_create_milestone", project_id=HARBOR, title=title)

    return steps, lambda state: "2.5.1" in state["repos"][HARBOR]["milestones"]


def _checklist_label() -> Made:
    def steps(use: Use) -> None:
        body = use("get_issue", **at(HARBOR), issue_number=88)["body"]
        use("gitlab_create_label", project_id=HARBOR, name=_first(r"the label (\S+)", body))

    return steps, lambda state: "needs-info" in state["repos"][HARBOR]["labels"]


def _checklist_assign() -> Made:
    def steps(use: Use) -> None:
        where = look_up(use, "harbor")
        number = best(issues(use, where), "release checklist")["number"]
        body = use("get_issue", **where, issue_number=number)["body"]
        found = int(_first(r"assign issue (\d+)", body))
        use("update_issue", **where, issue_number=found, assignees=[_first(r"issue \d+ to (\S+)", body)])  # fmt: skip

    return steps, lambda state: _of(state, HARBOR, 90)["assignees"] == ["jonas-weber"]


def _as_issue_says(full_name: str, number: int, wanted: str, path: str, now: str, right: str) -> Made:  # fmt: skip
    """Change a file as an issue of a colleague asks for."""

    def steps(use: Use) -> None:
        body = use("get_issue", **at(full_name), issue_number=number)["body"]
        text = re.sub(f"({now})[A-Za-z0-9-]+", rf"\g<1>{_first(wanted, body)}", file(use, at(full_name), path))  # fmt: skip
        use("create_or_update_file", **at(full_name), path=path, content=text, message=f"Close #{number}")  # fmt: skip

    return steps, lambda state: right in _main(state, full_name, path)


def _closes_fixed(full_name: str, number: int, closed: int) -> Made:
    """Close the issue that a pull request says that it closes."""

    def steps(use: Use) -> None:
        body = str(pull(use, at(full_name), number)["body"])
        found = int(_first(r"Closes #(\d+)", body) or 0)
        use("update_issue", **at(full_name), issue_number=found, state="closed")

    return steps, lambda state: _of(state, full_name, closed)["state"] == "closed"


def _reports_log(repo: str, title: str, full_name: str, right: str) -> Made:
    """Open an issue with what the newest failed run has said."""

    def steps(use: Use) -> None:
        where = look_up(use, repo)
        runs = use("actions_list_workflow_runs", **where)["workflow_runs"]
        failed = sorted((one for one in runs if one["conclusion"] == "failure"), key=lambda one: str(one["date"]))  # fmt: skip
        text = use("get_job_logs", **where, run_id=failed[-1]["id"])
        use("create_issue", **where, title=title, body=text)

    return steps, lambda state: any(
        one["title"] == title and right in one["body"]
        for one in state["repos"][full_name]["issues"].values()
    )


def _answers_from_page(url: str, number: int) -> Made:
    def steps(use: Use) -> None:
        best_answer = _first(r"(use `[^`]+`)", str(use("fetch", url=url)))
        use("add_issue_comment", **at(HARBOR), issue_number=number, body=best_answer)

    return steps, lambda state: any(
        "--queue" in one["body"] for one in _of(state, HARBOR, number)["comments"]
    )


def _notes_from_changelog() -> Made:
    def steps(use: Use) -> None:
        where = look_up(use, "harbor")
        text = file(use, where, "CHANGELOG.md").split("\n## ")[1]
        use("create_release", **where, tag_name="v2.4.1-post1", body=text)

    return (
        steps,
        lambda state: (
            "Wayland" in state["repos"][HARBOR]["releases"][0]["body"]
            and (state["repos"][HARBOR]["releases"][0]["tag"] == "v2.4.1-post1")
        ),
    )


def _links_newest(repo: str, words: str, full_name: str, number: int) -> Made:
    """Name the newest pull request below an issue."""

    def steps(use: Use) -> None:
        where = look_up(use, repo)
        newest = loaded(use("list_pull_requests", **where, state="open"))[0]["number"]
        found = best(issues(use, where), words)["number"]
        use("add_issue_comment", **where, issue_number=found, body=f"See #{newest}")

    return steps, lambda state: any(
        one["body"] == "See #15" for one in _of(state, full_name, number)["comments"]
    )


FOLLOWING: Final = (
    task("answer newest", "tell whoever opened the newest harbor issue: Thanks, we look into it.", _answers_newest("harbor", "Thanks, we look into it.", HARBOR, 101), "issue title"),
    task("answer newest docs", "answer the latest issue in infra with 'On my list.'", _answers_newest("infra", "On my list.", INFRA, 14)),
    task("close oldest bug", "close the oldest open bug in tidewater/harbor", _closes_oldest(HARBOR, "bug", 77), "issue title"),
    task("merge lucia", "merge whatever lucia-f has open in docs", _merges_of("docs", "lucia-f", DOCS, 23), "repository"),
    task("merge bot", "merge the renovate-bot PR in harbor", _merges_of("harbor", "renovate-bot", HARBOR, 99), "pull title"),
    task("label all of grace", "put label enhancement on every open issue that grace-lm opened in tidewater/harbor", _labels_all(HARBOR, "grace-lm", "enhancement", (101, 90)), "issue title"),
    task("clear news", "mark all my notifications as read", _clears_news(), "notification"),
    task("approve asked", "approve the PR that I was asked to review", _approves_asked(INFRA, 15), "notification"),
    task("first todo", "do the first thing in TODO.md of harbor", _first_todo(), "file content"),
    task("second todo", "Please do the second item of TODO.md in harbor.", _second_todo(), "file content"),
    task("guide step one", "follow step 1 of release-guide.md in tidewater/docs", _guide_step_one(), "file content"),
    task("guide step two", "now step 2 of release-guide.md in docs, for tidewater/harbor", _guide_step_two(), "file content"),
    task("checklist label", "do the first item of the checklist in tidewater/harbor#88", _checklist_label()),
    task("checklist assign", "second item of the release checklist issue in harbor, do it", _checklist_assign(), "issue title"),
    task("log level", "change src/harbor/config.py as issue 85 of tidewater/harbor says", _as_issue_says(HARBOR, 85, r"Set it to (\w+)", "src/harbor/config.py", 'LOG_LEVEL = "', 'LOG_LEVEL = "INFO"'), "file content"),
    task("region", "set the region in staging/main.tf to what tidewater/infra#14 says", _as_issue_says(INFRA, 14, r"should be (\S+?)\.$", "staging/main.tf", 'region = "', 'region = "eu-central-1"')),
    task("vat as reported", "corrige vat.py en tidewater/billing como dice el issue 31", _as_issue_says(BILLING, 31, r"Spain is (\d+)", "vat.py", '"ES": ', '"ES": 21')),
    task("close fixed", "close the issue that PR 103 in tidewater/harbor fixes", _closes_fixed(HARBOR, 103, 101)),
    task("close by dark mode", "the issue which tidewater/harbor pull 102 closes can be closed", _closes_fixed(HARBOR, 102, 95), "pull body"),
    task("report nightly", "open an issue 'Nightly is red' in harbor with the log of the last failed run", _reports_log("harbor", "Nightly is red", HARBOR, "mirror.tidewater.example"), "log"),
    task("answer from forum", "comment the best answer of https://forum.tidewater.example/t/482 on tidewater/harbor#90", _answers_from_page("https://forum.tidewater.example/t/482", 90), "web page"),
    task("notes from changelog", "publish v2.4.1-post1 of harbor with the newest section of CHANGELOG.md as notes", _notes_from_changelog(), "file content"),
    task("link newest", "link the newest PR of infra in the backups issue there ('See #...')", _links_newest("infra", "backups", INFRA, 14)),
)  # fmt: skip
