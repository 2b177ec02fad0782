"""What the tools of the code host do that change projects, people, keys and pages."""

from typing import Any

from benchmarks.worlds.forge_reads import of_project, repo_at
from benchmarks.worlds.forge_state import TODAY
from benchmarks.worlds.world import State


def add_project_member(state: State, project_id: str, username: str, access_level: str) -> str:
    """Let somebody into a project."""
    of_project(state, project_id)["collaborators"][username] = access_level
    return f"{username} is now {access_level} of {project_id}"


def remove_project_member(state: State, project_id: str, username: str) -> str:
    """Take somebody out of a project."""
    of_project(state, project_id)["collaborators"].pop(username)
    return f"{username} removed from {project_id}"


def create_milestone(
    state: State, project_id: str, title: str, due_date: str = ""
) -> dict[str, Any]:
    """Create a milestone, or set its day."""
    of_project(state, project_id)["milestones"][title] = due_date
    return {"title": title, "due_date": due_date}


def create_label(state: State, project_id: str, name: str, color: str = "#cccccc") -> str:
    """Create a label."""
    of_project(state, project_id)["labels"].append(name)
    return f"Label {name} {color} created"


def set_variable(state: State, project_id: str, key: str, value: str, **_said: Any) -> str:
    """Set a secret of a project."""
    of_project(state, project_id)["secrets"][key] = f"{TODAY} {value}"
    return f"{key} saved"


def delete_variable(state: State, project_id: str, key: str) -> str:
    """Delete a secret of a project."""
    of_project(state, project_id)["secrets"].pop(key)
    return f"{key} deleted"


def create_webhook(state: State, repository: str, url: str, events: Any = ()) -> dict[str, Any]:
    """Call an address at each event."""
    of_project(state, repository)["webhooks"].append(url)
    return {"url": url, "events": list(events), "active": True}


def delete_webhook(state: State, repository: str, url: str) -> str:
    """Delete a webhook."""
    of_project(state, repository)["webhooks"].remove(url)
    return f"Webhook {url} deleted"


def add_deploy_key(state: State, repository: str, title: str, key: str, **said: Any) -> str:
    """Let a key into a repository."""
    of_project(state, repository)["deploy_keys"][title] = key
    return f"Key {title} added, {'read only' if said.get('readOnly', True) else 'may write'}"


def delete_deploy_key(state: State, repository: str, title: str) -> str:
    """Shut a key out of a repository."""
    of_project(state, repository)["deploy_keys"].pop(title)
    return f"Key {title} deleted"


def update_wiki_page(state: State, repository: str, title: str, content: str) -> str:
    """Write a page of the wiki."""
    of_project(state, repository)["wiki"][title] = content
    return f"Page {title} saved"


def update_repository(state: State, owner: str, repo: str, **said: Any) -> dict[str, Any]:
    """Change settings of a repository."""
    where = repo_at(state, owner, repo)
    keys = ("description", "homepage", "private", "archived", "default_branch", "topics")
    where.update({key: said[key] for key in keys if key in said})
    return {key: where[key] for key in keys}


def protect_branch(state: State, owner: str, repo: str, branch: str, *, protected: bool) -> str:
    """Protect a branch, or stop to."""
    names = repo_at(state, owner, repo)["protected"]
    if protected and branch not in names:
        names.append(branch)
    elif not protected and branch in names:
        names.remove(branch)
    return f"{branch}: protected={protected}"


def delete_repository(state: State, owner: str, repo: str) -> str:
    """Delete a repository for good."""
    state["deleted"].append(f"{owner}/{repo}")
    return f"Deleted {owner}/{repo}"


def create_gist(
    state: State, description: str, filename: str, content: str, *, public: bool = False
) -> dict[str, Any]:
    """Publish a snippet."""
    state["gists"].append(
        {"description": description, "filename": filename, "content": content, "public": public}
    )
    return {"url": f"https://gist.forge.example/mira-holt/{len(state['gists'])}"}


def add_ssh_key(state: State, title: str, key: str) -> str:
    """Let a key into the account of the user."""
    state["ssh_keys"].append({"title": title, "key": key})
    return f"Key {title} added"


def update_profile(state: State, **said: Any) -> dict[str, Any]:
    """Change the profile of the user."""
    keys = ("name", "bio", "email", "status")
    state["profile"].update({key: said[key] for key in keys if key in said})
    return dict(state["profile"])


def invite_to_organization(state: State, org: str, invitee: str, role: str = "member") -> str:
    """Invite somebody to the organization."""
    state["org_members"].append(invitee)
    return f"Invited {invitee} to {org} as {role}"


def dismiss_notification(state: State, thread_id: str) -> str:
    """Mark a notification as read."""
    for one in state["notifications"]:
        if one["id"] == thread_id:
            one["unread"] = False
    return f"{thread_id} is read"
