"""Tasks on the code host with pull requests, branches, files, releases and runs."""

from typing import Any, Final

from benchmarks.worlds.forge_state import BILLING, DOCS, DOTS, HARBOR, INFRA, ME
from benchmarks.worlds.forge_tasks import Made, at, best, file, login, look_up, pull, pulls, task
from benchmarks.worlds.world import State, Use

_LOGINS: Final = {
    "Aiko": "aiko-t",
    "Jonas": "jonas-weber",
    "Samuel": "sam-okafor",
    "Lucía": "lucia-f",
}


def _one(state: State, full_name: str, number: int) -> dict[str, Any]:
    found: dict[str, Any] = state["repos"][full_name]["pulls"][number]
    return found


def _merges(full_name: str, number: int, method: str = "merge") -> Made:
    def steps(use: Use) -> None:
        pull(use, at(full_name), number)
        use("merge_pull_request", **at(full_name), pull_number=number, merge_method=method)

    return steps, lambda state: _one(state, full_name, number).get("method") == method


def _merges_titled(repo: str, words: str, full_name: str, number: int) -> Made:
    def steps(use: Use) -> None:
        where = look_up(use, repo)
        found = best(pulls(use, where), words)["number"]
        use("merge_pull_request", **where, pull_number=found, merge_method="squash")

    return steps, lambda state: bool(_one(state, full_name, number)["merged"])


def _shuts(full_name: str, number: int) -> Made:
    def steps(use: Use) -> None:
        pull(use, at(full_name), number)
        use("update_pull_request", **at(full_name), pull_number=number, state="closed")

    return (
        steps,
        lambda state: (
            _one(state, full_name, number)["state"] == "closed"
            and not _one(state, full_name, number)["merged"]
        ),
    )


def _asks(repo: str, words: str, names: tuple[str, ...], full_name: str, number: int) -> Made:
    """Ask people, called by their first names, for a review."""

    def steps(use: Use) -> None:
        where = look_up(use, repo)
        found = best(pulls(use, where), words)["number"]
        who = [login(use, one) for one in names]
        use("request_review", **where, pull_number=found, reviewers=who)

    right = [_LOGINS[one] for one in names]
    return steps, lambda state: _one(state, full_name, number)["reviewers"] == right


def _approves(full_name: str, number: int, event: str, body: str = "") -> Made:
    def steps(use: Use) -> None:
        pull(use, at(full_name), number)
        use("pull_request_read", **at(full_name), pull_number=number, method="get_diff")
        use("pull_request_review_write", **at(full_name), pull_number=number, event=event, body=body)  # fmt: skip

    given = {"author": ME, "event": event, "body": body}
    return steps, lambda state: given in _one(state, full_name, number)["reviews"]


def _readies(repo: str, words: str, full_name: str, number: int) -> Made:
    def steps(use: Use) -> None:
        where = look_up(use, repo)
        found = best(pulls(use, where), words)["number"]
        use("update_pull_request", **where, pull_number=found, draft=False)

    return steps, lambda state: not _one(state, full_name, number)["draft"]


def _proposes(repo: str, head: str, title: str, full_name: str) -> Made:
    def steps(use: Use) -> None:
        where = look_up(use, repo)
        rows = use("list_branches", **where)["branches"]
        found = best(rows, head, key="name")["name"]
        use("create_pull_request", **where, title=title, head=found, base="main")

    def done(state: State) -> bool:
        rows = state["repos"][full_name]["pulls"].values()
        return any((one["title"], one["head"]) == (title, head) for one in rows)

    return steps, done


def _branches(full_name: str, branch: str) -> Made:
    def steps(use: Use) -> None:
        use("create_branch", **at(full_name), branch=branch, from_branch="main")

    return steps, lambda state: branch in state["repos"][full_name]["branches"]


def _prunes(repo: str, branch: str, full_name: str) -> Made:
    def steps(use: Use) -> None:
        where = look_up(use, repo)
        rows = use("list_branches", **where)["branches"]
        use("delete_branch", **where, branch=best(rows, branch, key="name")["name"])

    return steps, lambda state: branch not in state["repos"][full_name]["branches"]


def _edits(full_name: str, path: str, old: str, new: str) -> Made:
    """Change a part of a file; the rest is written back as it was read."""

    def steps(use: Use) -> None:
        text = file(use, at(full_name), path).replace(old, new)
        use("create_or_update_file", **at(full_name), path=path, content=text, message=f"Change {path}", branch="main")  # fmt: skip

    def done(state: State) -> bool:
        text = state["repos"][full_name]["files"]["main"][path]
        return new in text and old not in text

    return steps, done


def _edits_in(repo: str, path: str, line: str, full_name: str) -> Made:
    """Add a line to a file of a repository that is called by its short name."""

    def steps(use: Use) -> None:
        where = look_up(use, repo)
        text = file(use, where, path)
        use("create_or_update_file", **where, path=path, content=f"{text}{line}\n", message=f"Add to {path}")  # fmt: skip

    return steps, lambda state: line in state["repos"][full_name]["files"]["main"][path]


def _adds(full_name: str, path: str, content: str) -> Made:
    def steps(use: Use) -> None:
        use("create_or_update_file", **at(full_name), path=path, content=content, message=f"Add {path}", branch="main")  # fmt: skip

    return steps, lambda state: state["repos"][full_name]["files"]["main"].get(path) == content


def _removes(full_name: str, path: str) -> Made:
    def steps(use: Use) -> None:
        file(use, at(full_name), path)
        use("delete_file", **at(full_name), path=path, message=f"Remove {path}", branch="main")

    return steps, lambda state: path not in state["repos"][full_name]["files"]["main"]


def _releases(repo: str, tag: str, body: str, full_name: str) -> Made:
    def steps(use: Use) -> None:
        where = look_up(use, repo)
        use("list_releases", **where)
        use("create_release", **where, tag_name=tag, name=tag, body=body)

    return (
        steps,
        lambda state: (
            state["repos"][full_name]["releases"][:1]
            and (state["repos"][full_name]["releases"][0]["tag"] == tag)
        ),
    )


def _deploys(repo: str, workflow: str, ref: str, full_name: str) -> Made:
    def steps(use: Use) -> None:
        use("run_workflow", **look_up(use, repo), workflow_id=workflow, ref=ref)

    return steps, lambda state: (workflow, full_name, ref) in state["dispatched"]


def _reruns(repo: str, branch: str, full_name: str, run: int) -> Made:
    """Run the failed run of a branch again."""

    def steps(use: Use) -> None:
        where = look_up(use, repo)
        runs = use("actions_list_workflow_runs", **where)["workflow_runs"]
        failed = [one for one in runs if one["conclusion"] == "failure"]
        found = best(failed, branch, key="branch")["id"]
        use("get_job_logs", **where, run_id=found)
        use("rerun_workflow_run", **where, run_id=found)

    return steps, lambda state: ("rerun", full_name, run) in state["dispatched"]


PULLING: Final = (
    task("merge 23", "merge tidewater/docs pull 23", _merges(DOCS, 23)),
    task("merge 99 squash", "squash and merge PR 99 in tidewater/harbor", _merges(HARBOR, 99, "squash"), "pull body"),
    task("merge 15 rebase", "Rebase-merge tidewater/infra #15 please", _merges(INFRA, 15, "rebase")),
    task("merge retry", "merge the retry PR in harbor (squash)", _merges_titled("harbor", "retry", HARBOR, 103), "pull title"),
    task("merge backups", "squash the backups one in infra", _merges_titled("infra", "backups", INFRA, 15)),
    task("shut 104", "close PR 104 in tidewater/harbor without merging", _shuts(HARBOR, 104), "pull body"),
    task("shut 97", "Close tidewater/harbor pull 97, we do something else", _shuts(HARBOR, 97)),
    task("ask aiko", "ask Aiko to review the dark mode PR in harbor", _asks("harbor", "dark mode", ("Aiko",), HARBOR, 102), "pull title", "profile"),
    task("ask two", "request reviews from Jonas and Samuel on the backups PR in infra", _asks("infra", "backups", ("Jonas", "Samuel"), INFRA, 15), "profile"),
    task("ask lucia", "lucía soll sich den httpx bump in harbor anschauen (review)", _asks("harbor", "httpx", ("Lucía",), HARBOR, 99), "pull title", "profile"),
    task("approve 103", "look at PR 103 in tidewater/harbor and approve it", _approves(HARBOR, 103, "APPROVE")),
    task("approve 15", "approve tidewater/infra 15 with 'LGTM'", _approves(INFRA, 15, "APPROVE", "LGTM")),
    task("changes 102", "request changes on tidewater/harbor PR 102: 'Please raise the contrast of the buttons.'", _approves(HARBOR, 102, "REQUEST_CHANGES", "Please raise the contrast of the buttons."), "pull body", "patch"),
    task("ready storage", "mark the storage layer PR in harbor as ready for review", _readies("harbor", "storage layer", HARBOR, 97), "pull title"),
    task("propose release", "open a PR in harbor from release/2.4 to main, title 'Back-merge 2.4'", _proposes("harbor", "release/2.4", "Back-merge 2.4", HARBOR), "branch name"),
    task("propose installer", "make a pull request 'Keep the old installer' from old-installer in harbor", _proposes("harbor", "old-installer", "Keep the old installer", HARBOR), "branch name"),
    task("branch queue", "create the branch feature/offline-queue in tidewater/harbor", _branches(HARBOR, "feature/offline-queue")),
    task("branch fish", "neuer Branch fish in mira-holt/dotfiles", _branches(DOTS, "fish")),
    task("prune installer", "delete the old-installer branch in harbor", _prunes("harbor", "old-installer", HARBOR), "branch name"),
    task("edit timeout", "set TIMEOUT_S to 120 in src/harbor/config.py of tidewater/harbor, it's 30 now", _edits(HARBOR, "src/harbor/config.py", "TIMEOUT_S = 30", "TIMEOUT_S = 120"), "file content"),
    task("edit typo", "fix the typo 'harbor inti' -> 'harbor init' in quickstart.md of tidewater/docs", _edits(DOCS, "quickstart.md", "harbor inti", "harbor init"), "file content"),
    task("edit vat", "in tidewater/billing vat.py change \"ES\": 20 to \"ES\": 21", _edits(BILLING, "vat.py", '"ES": 20', '"ES": 21')),
    task("edit alias", "add the line alias gl='git log' to .zshrc in dotfiles", _edits_in("dotfiles", ".zshrc", "alias gl='git log'", DOTS), "file content"),
    task("edit changelog", "append '- Dark mode' to CHANGELOG.md of harbor", _edits_in("harbor", "CHANGELOG.md", "- Dark mode", HARBOR), "file content"),
    task("add editorconfig", "add a file .editorconfig to tidewater/harbor with 'root = true'", _adds(HARBOR, ".editorconfig", "root = true")),
    task("add codeowners", "create CODEOWNERS in tidewater/docs containing '* @lucia-f'", _adds(DOCS, "CODEOWNERS", "* @lucia-f")),
    task("remove example", "delete examples/legacy.py from tidewater/harbor", _removes(HARBOR, "examples/legacy.py"), "file content"),
    task("release 2.4.2", "publish release v2.4.2 of harbor, notes: 'Waits between retries.'", _releases("harbor", "v2.4.2", "Waits between retries.", HARBOR), "release notes"),
    task("deploy infra", "run deploy.yml on main in infra", _deploys("infra", "deploy.yml", "main", INFRA), "repository"),
    task("rerun nightly", "rerun the failed nightly on main in harbor", _reruns("harbor", "main", HARBOR, 5503), "log"),
    task("rerun retry", "ci on fix/sync-retry in harbor failed, restart it pls", _reruns("harbor", "fix/sync-retry", HARBOR, 5502), "log"),
)  # fmt: skip
