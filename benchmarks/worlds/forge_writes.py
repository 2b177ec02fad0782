"""What the tools of the code host do that change issues, pull requests and files."""

from typing import Any

from benchmarks.worlds.forge_reads import repo_at, thread
from benchmarks.worlds.forge_state import ME, TODAY
from benchmarks.worlds.world import State


def _next(where: dict[str, Any]) -> int:
    return max((*where["issues"], *where["pulls"], 0)) + 1


def create_issue(
    state: State, owner: str, repo: str, title: str, body: str = "", **said: Any
) -> dict[str, Any]:
    """Open an issue."""
    where = repo_at(state, owner, repo)
    number = _next(where)
    where["issues"][number] = {
        "number": number, "title": title, "author": ME, "body": body, "labels": list(said.get("labels", ())),
        "created_at": TODAY, "state": "open", "assignees": list(said.get("assignees", ())),
        "milestone": said.get("milestone", ""), "comments": [], "locked": False,
    }  # fmt: skip
    return {"number": number, "title": title, "state": "open"}


def update_issue(
    state: State, /, owner: str, repo: str, issue_number: int, **said: Any
) -> dict[str, Any]:
    """Change fields of an issue."""
    one = repo_at(state, owner, repo)["issues"][issue_number]
    keys = ("title", "body", "state", "labels", "assignees", "milestone")
    one.update({key: said[key] for key in keys if key in said})
    return {"number": issue_number, "state": one["state"], "labels": one["labels"]}


def add_issue_comment(state: State, owner: str, repo: str, issue_number: int, body: str) -> str:
    """Say something below an issue or pull request."""
    thread(repo_at(state, owner, repo), issue_number)["comments"].append(
        {"author": ME, "body": body}
    )
    return f"Comment added to #{issue_number}"


def lock_issue(state: State, owner: str, repo: str, issue_number: int) -> str:
    """Close a conversation for strangers."""
    thread(repo_at(state, owner, repo), issue_number)["locked"] = True
    return f"Locked #{issue_number}"


def create_or_update_file(
    state: State, owner: str, repo: str, path: str, content: str, message: str, branch: str = "main", **_sha: Any
) -> dict[str, Any]:  # fmt: skip
    """Write a file in a commit."""
    where = repo_at(state, owner, repo)
    tree = where["files"].setdefault(branch, dict(where["files"]["main"]))
    tree[path] = content
    where["commits"].insert(0, {"sha": "f00d001", "author": ME, "date": TODAY, "message": message})
    return {"path": path, "branch": branch, "commit": "f00d001"}


def delete_file(
    state: State, owner: str, repo: str, path: str, message: str, branch: str = "main"
) -> dict[str, Any]:
    """Delete a file in a commit."""
    where = repo_at(state, owner, repo)
    where["files"].setdefault(branch, dict(where["files"]["main"])).pop(path)
    where["commits"].insert(0, {"sha": "f00d002", "author": ME, "date": TODAY, "message": message})
    return {"path": path, "commit": "f00d002"}


def create_branch(
    state: State, owner: str, repo: str, branch: str, from_branch: str = "main"
) -> dict[str, Any]:
    """Begin a branch."""
    where = repo_at(state, owner, repo)
    where["branches"].append(branch)
    where["files"][branch] = dict(where["files"].get(from_branch, where["files"]["main"]))
    return {"ref": f"refs/heads/{branch}"}


def delete_branch(state: State, owner: str, repo: str, branch: str) -> str:
    """Delete a branch."""
    repo_at(state, owner, repo)["branches"].remove(branch)
    return f"Deleted branch {branch}"


def create_pull_request(
    state: State, owner: str, repo: str, title: str, head: str, base: str, **said: Any
) -> dict[str, Any]:
    """Open a pull request."""
    where = repo_at(state, owner, repo)
    number = _next(where)
    where["pulls"][number] = {
        "number": number, "title": title, "author": ME, "head": head, "base": base, "body": said.get("body", ""),
        "state": "open", "draft": bool(said.get("draft")), "merged": False, "reviewers": [], "reviews": [],
        "labels": [], "comments": [], "created_at": TODAY, "patch": "",
    }  # fmt: skip
    return {"number": number, "title": title}


def update_pull_request(
    state: State, /, owner: str, repo: str, pull_number: int, **said: Any
) -> dict[str, Any]:
    """Change fields of a pull request."""
    one = repo_at(state, owner, repo)["pulls"][pull_number]
    one.update({key: said[key] for key in ("title", "body", "state", "draft", "base") if key in said})  # fmt: skip
    return {"number": pull_number, "state": one["state"], "draft": one["draft"]}


def merge_pull_request(
    state: State, owner: str, repo: str, pull_number: int, merge_method: str = "merge", **_said: Any
) -> dict[str, Any]:
    """Merge a pull request into its base."""
    where = repo_at(state, owner, repo)
    one = where["pulls"][pull_number]
    one.update(merged=True, state="closed", method=merge_method)
    where["files"]["main"].update(where["files"].get(one["head"], {}))
    return {"merged": True, "message": "Pull Request successfully merged"}


def request_review(
    state: State, owner: str, repo: str, pull_number: int, reviewers: list[str]
) -> str:
    """Ask people for a review."""
    repo_at(state, owner, repo)["pulls"][pull_number]["reviewers"] += reviewers
    return f"Requested: {', '.join(reviewers)}"


def pull_request_review_write(
    state: State, owner: str, repo: str, pull_number: int, event: str, body: str = ""
) -> str:
    """Give a review."""
    repo_at(state, owner, repo)["pulls"][pull_number]["reviews"].append(
        {"author": ME, "event": event, "body": body}
    )
    return f"Review submitted: {event}"


def create_release(
    state: State, owner: str, repo: str, tag_name: str, name: str = "", body: str = "", **_said: Any
) -> dict[str, Any]:
    """Publish a release."""
    repo_at(state, owner, repo)["releases"].insert(
        0, {"tag": tag_name, "name": name or tag_name, "body": body, "date": TODAY}
    )
    return {"tag_name": tag_name, "name": name or tag_name}


def rerun_workflow(state: State, owner: str, repo: str, run_id: int) -> str:
    """Run a run again."""
    repo_at(state, owner, repo)
    state["dispatched"].append(("rerun", f"{owner}/{repo}", run_id))
    return f"Run {run_id} queued again"


def run_workflow(
    state: State, owner: str, repo: str, workflow_id: str, ref: str, inputs: Any = None
) -> str:
    """Start a workflow."""
    repo_at(state, owner, repo)
    state["dispatched"].append((workflow_id, f"{owner}/{repo}", ref))
    return f"{workflow_id} started on {ref} {inputs or ''}".strip()
