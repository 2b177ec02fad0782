"""What the tools of the code host do that only read."""

import json
from typing import Any

from benchmarks.worlds.world import State


def repo_at(state: State, owner: str, repo: str) -> dict[str, Any]:
    """Return a repository."""
    found: dict[str, Any] = state["repos"][f"{owner}/{repo}"]
    return found


def of_project(state: State, project_id: str) -> dict[str, Any]:
    """Return a repository by its path, as hosts with projects call it."""
    found: dict[str, Any] = state["repos"][project_id]
    return found


def thread(where: dict[str, Any], number: int) -> dict[str, Any]:
    """Return an issue or a pull request of a repository."""
    found: dict[str, Any] = {**where["issues"], **where["pulls"]}[number]
    return found


def _fits(query: str, *texts: str) -> bool:
    words = [one for one in query.casefold().split() if ":" not in one]
    return all(any(word in text.casefold() for text in texts) for word in words)


def _short(row: dict[str, Any]) -> dict[str, Any]:
    keys = ("number", "title", "author", "state", "labels", "assignees", "milestone", "created_at", "draft", "head", "reviewers")  # fmt: skip
    return {key: row[key] for key in keys if key in row}


def get_me(state: State) -> str:
    """Say who the user is."""
    return json.dumps({"login": "mira-holt", **state["profile"]})


def search_repositories(state: State, query: str, **_page: Any) -> str:
    """Find repositories by words."""
    rows = [
        {
            "name": one["full_name"].partition("/")[2],
            "html_url": f"https://forge.example/{one['full_name']}",
            **{key: one[key] for key in ("full_name", "description", "private", "default_branch", "homepage", "topics")},
        }
        for one in state["repos"].values()
        if _fits(query, one["full_name"], one["description"])
    ]  # fmt: skip
    return json.dumps({"total_count": len(rows), "items": rows})


def get_file_contents(state: State, owner: str, repo: str, path: str, ref: str = "main") -> str:
    """Return a file, or the names in a folder."""
    files = repo_at(state, owner, repo)["files"]
    tree = files.get(ref, files["main"])
    if path in tree:
        return str(tree[path])
    names = [one for one in tree if one.startswith(path.strip("/"))]
    return "\n".join(names) or f"Not found: {path}"


def list_branches(state: State, owner: str, repo: str) -> dict[str, Any]:
    """List branches."""
    where = repo_at(state, owner, repo)
    return {
        "branches": [
            {"name": one, "protected": one in where["protected"]} for one in where["branches"]
        ]
    }


def list_commits(state: State, owner: str, repo: str, **_page: Any) -> str:
    """List commits as lines, the newest first."""
    return "\n".join(
        f"{one['sha']} {one['date']} {one['author']}: {one['message']}"
        for one in repo_at(state, owner, repo)["commits"]
    )


def list_issues(state: State, /, owner: str, repo: str, labels: Any = (), **said: Any) -> str:
    """List issues, the newest first."""
    wanted = str(said.get("state", "open")).lower()
    rows = sorted(
        repo_at(state, owner, repo)["issues"].values(), key=lambda one: -int(one["number"])
    )
    return json.dumps(
        [
            _short(one)
            for one in rows
            if wanted in ("all", one["state"]) and set(labels) <= set(one["labels"])
        ]
    )


def search_issues(state: State, query: str, **_page: Any) -> dict[str, Any]:
    """Find issues and pull requests by words in all repositories."""
    items = [
        {"repository": name, **_short(one), "body": one["body"]}
        for name, where in state["repos"].items()
        for one in (*where["issues"].values(), *where["pulls"].values())
        if _fits(query, one["title"], one["body"])
    ]
    return {"total_count": len(items), "items": items}


def get_issue(state: State, owner: str, repo: str, issue_number: int) -> dict[str, Any]:
    """Return an issue."""
    one = repo_at(state, owner, repo)["issues"][issue_number]
    return {**_short(one), "body": one["body"], "comments": len(one["comments"])}


def get_issue_comments(state: State, owner: str, repo: str, issue_number: int) -> dict[str, Any]:
    """Return what people have said below an issue or pull request."""
    return {"comments": list(thread(repo_at(state, owner, repo), issue_number)["comments"])}


def list_pull_requests(state: State, /, owner: str, repo: str, **said: Any) -> str:
    """List pull requests, the newest first."""
    rows = sorted(
        repo_at(state, owner, repo)["pulls"].values(), key=lambda one: str(one["created_at"])
    )
    wanted = said.get("state", "open")
    return json.dumps([_short(one) for one in reversed(rows) if wanted in ("all", one["state"])])


def pull_request_read(
    state: State, owner: str, repo: str, pull_number: int, method: str = "get"
) -> str:
    """Return a pull request: itself, its diff, or its comments."""
    one = repo_at(state, owner, repo)["pulls"][pull_number]
    if method == "get_diff":
        return str(one["patch"])
    if method == "get_comments":
        return json.dumps(one["comments"])
    return json.dumps({**_short(one), "body": one["body"], "merged": one["merged"]})


def list_workflow_runs(state: State, owner: str, repo: str, **_page: Any) -> dict[str, Any]:
    """List runs of workflows."""
    runs = repo_at(state, owner, repo)["runs"]
    return {"total_count": len(runs), "workflow_runs": list(runs)}


def get_job_logs(state: State, owner: str, repo: str, run_id: int) -> str:
    """Return the log of a run."""
    return f"{owner}/{repo} run {run_id}\n{state['logs'][run_id]}"


def list_releases(state: State, owner: str, repo: str) -> dict[str, Any]:
    """List releases, the newest first."""
    return {"releases": list(repo_at(state, owner, repo)["releases"])}


def search_users(state: State, query: str, **_page: Any) -> str:
    """Find people by login or name."""
    rows = [one for one in state["users"] if _fits(query, one["login"], one["name"])]
    return json.dumps({"total_count": len(rows), "items": rows})


def list_notifications(state: State, **_said: Any) -> str:
    """List unread notifications as lines."""
    return "\n".join(
        f"[{one['id']}] {one['repo']}#{one['number']} {one['subject']}"
        for one in state["notifications"]
        if one["unread"]
    )


def project_members(state: State, project_id: str) -> dict[str, Any]:
    """List who may enter a project."""
    people = of_project(state, project_id)["collaborators"]
    return {"members": [{"username": one, "access_level": role} for one, role in people.items()]}


def project_milestones(state: State, project_id: str) -> dict[str, Any]:
    """List the milestones of a project."""
    found = of_project(state, project_id)["milestones"]
    return {"milestones": [{"title": one, "due_date": day} for one, day in found.items()]}


def project_variables(state: State, project_id: str) -> str:
    """List the names of the secrets of a project."""
    return "\n".join(
        f"{name} (updated {day})" for name, day in of_project(state, project_id)["secrets"].items()
    )


def project_labels(state: State, project_id: str) -> dict[str, Any]:
    """List the labels of a project."""
    return {"labels": list(of_project(state, project_id)["labels"])}


def list_webhooks(state: State, repository: str) -> dict[str, Any]:
    """List webhooks."""
    return {"webhooks": [{"url": one} for one in of_project(state, repository)["webhooks"]]}


def list_deploy_keys(state: State, repository: str) -> dict[str, Any]:
    """List deploy keys."""
    found = of_project(state, repository)["deploy_keys"]
    return {"keys": [{"title": title, "key": key} for title, key in found.items()]}


def list_wiki_pages(state: State, repository: str) -> dict[str, Any]:
    """List the titles of the wiki."""
    return {"pages": [{"title": one} for one in of_project(state, repository)["wiki"]]}


def get_wiki_page(state: State, repository: str, title: str) -> str:
    """Return a page of the wiki."""
    return str(of_project(state, repository)["wiki"].get(title, "No such page"))


def fetch(state: State, url: str, **_page: Any) -> str:
    """Fetch a page of the web."""
    state["fetched"].append(url)
    return f"Contents of {url}:\n{state['pages'].get(url, 'Not found')}"
