"""The tools of the code host, named and described as servers of such products do: not all of one mould."""

from collections.abc import Callable
from typing import Any, Final

from benchmarks.worlds import forge_reads as reads
from benchmarks.worlds import forge_settings as settings
from benchmarks.worlds import forge_writes as writes
from benchmarks.worlds.world import WorldTool

_READ: Final = {"readOnlyHint": True, "openWorldHint": True}
_WRITE: Final = {"readOnlyHint": False, "destructiveHint": False}
_DESTROY: Final = {"readOnlyHint": False, "destructiveHint": True}
_OWNER: Final = {"type": "string", "description": "Repository owner (username or organization)"}
_REPO: Final = {"type": "string", "description": "Repository name"}
_PROJECT: Final = {"type": "string", "description": "Project ID or URL-encoded path, e.g. group/project"}  # fmt: skip
_REPOSITORY: Final = {"type": "string", "description": "Full name of the repository, owner/name"}
_PAGE: Final = {"page": {"type": "number", "minimum": 1}, "perPage": {"type": "number", "maximum": 100}}  # fmt: skip
_TEXT: Final = {"type": "string"}
_LIST: Final = {"type": "array", "items": {"type": "string"}}
_FLAG: Final = {"type": "boolean"}


def _text(described: str, **more: Any) -> dict[str, Any]:
    return {"type": "string", "description": described, **more}


def _number(described: str) -> dict[str, Any]:
    return {"type": "number", "description": described}


def _at(**more: Any) -> dict[str, Any]:
    return {"owner": _OWNER, "repo": _REPO, **more}


def _tool(
    act: Callable[..., Any], described: str, properties: dict[str, Any], kind: dict[str, bool], name: str = ""
) -> WorldTool:  # fmt: skip
    return WorldTool(name or act.__name__, properties, act, described, kind)


_ISSUE: Final = _number("The number of the issue")
_PULL: Final = _number("Pull request number")
_ISSUE_FIELDS: Final = {"labels": _LIST, "assignees": {**_LIST, "description": "Usernames to assign to this issue"}, "milestone": _text("Milestone title")}  # fmt: skip
_BRANCH: Final = _text("Branch to commit to")

_READING: Final = (
    _tool(reads.get_me, "Get details of the authenticated user.", {}, _READ),
    _tool(reads.search_repositories, "Search for repositories.", {"query": _text("Search query"), **_PAGE}, _READ),
    _tool(reads.get_file_contents, "Get the contents of a file or directory from a repository.", _at(path=_text("Path to file/directory"), ref=_text("Branch, tag or commit")), _READ),
    _tool(reads.list_branches, "List branches in a repository.", _at(), _READ),
    _tool(reads.list_commits, "Get list of commits of a branch in a repository.", _at(**_PAGE), _READ),
    _tool(reads.list_issues, "List issues in a repository.", _at(state=_text("Filter by state", enum=["open", "closed", "all"]), labels=_LIST, **_PAGE), _READ),
    _tool(reads.search_issues, "Search for issues and pull requests across repositories.", {"query": _text("Search query using issue search syntax"), **_PAGE}, _READ),
    _tool(reads.get_issue, "Get details of a specific issue in a repository.", _at(issue_number=_ISSUE), _READ),
    _tool(reads.get_issue_comments, "Get comments for a specific issue or pull request.", _at(issue_number=_ISSUE), _READ),
    _tool(reads.list_pull_requests, "List pull requests in a repository.", _at(state=_text("Filter by state", enum=["open", "closed", "all"]), **_PAGE), _READ),
    _tool(reads.pull_request_read, "Get information on a specific pull request.", _at(pull_number=_PULL, method=_text("What to read", enum=["get", "get_diff", "get_comments"])), _READ),
    _tool(reads.list_workflow_runs, "List workflow runs of a repository.", _at(**_PAGE), _READ, "actions_list_workflow_runs"),
    _tool(reads.get_job_logs, "Download logs of a workflow run.", _at(run_id=_number("The unique identifier of the run")), _READ),
    _tool(reads.list_releases, "List releases of a repository.", _at(), _READ),
    _tool(reads.search_users, "Find users by username or real name.", {"query": _text("User search query"), **_PAGE}, _READ),
    _tool(reads.list_notifications, "Lists all unread notifications of the user.", {"filter": _text("Filter", enum=["default", "participating"])}, _READ),
    _tool(reads.project_members, "List members of a project.", {"project_id": _PROJECT}, _READ, "gitlab_list_project_members"),
    _tool(reads.project_milestones, "List milestones of a project.", {"project_id": _PROJECT}, _READ, "gitlab_list_milestones"),
    _tool(reads.project_variables, "List the CI/CD variables of a project, without values.", {"project_id": _PROJECT}, _READ, "gitlab_list_variables"),
    _tool(reads.project_labels, "List the labels of a project.", {"project_id": _PROJECT}, _READ, "gitlab_list_labels"),
    _tool(reads.list_webhooks, "List repository webhooks.", {"repository": _REPOSITORY}, _READ, "listWebhooks"),
    _tool(reads.list_deploy_keys, "List deploy keys.", {"repository": _REPOSITORY}, _READ, "listDeployKeys"),
    _tool(reads.list_wiki_pages, "List wiki pages.", {"repository": _REPOSITORY}, _READ, "listWikiPages"),
    _tool(reads.get_wiki_page, "Get the content of a wiki page.", {"repository": _REPOSITORY, "title": _text("Page title")}, _READ, "getWikiPage"),
    _tool(reads.fetch, "Fetches a URL from the internet and extracts its contents as markdown.", {"url": _text("URL to fetch", format="uri", minLength=1), "max_length": {"type": "integer", "default": 5000}}, _READ),
)  # fmt: skip
_WRITING: Final = (
    _tool(writes.create_issue, "Create a new issue in a repository.", _at(title=_text("Issue title"), body=_text("Issue body content"), **_ISSUE_FIELDS), _WRITE),
    _tool(writes.update_issue, "Update an existing issue in a repository.", _at(issue_number=_ISSUE, title=_TEXT, body=_TEXT, state=_text("New state", enum=["open", "closed"]), **_ISSUE_FIELDS), _WRITE),
    _tool(writes.add_issue_comment, "Add a comment to a specific issue or pull request.", _at(issue_number=_ISSUE, body=_text("Comment content")), _WRITE),
    _tool(writes.lock_issue, "Lock the conversation of an issue.", _at(issue_number=_ISSUE), _WRITE),
    _tool(writes.create_or_update_file, "Create or update a single file in a repository.", _at(path=_text("Path where to create/update the file"), content=_text("Content of the file"), message=_text("Commit message"), branch=_BRANCH, sha=_text("Blob SHA of the file being replaced")), _DESTROY),
    _tool(writes.delete_file, "Delete a file from a repository.", _at(path=_text("Path to the file to delete"), message=_text("Commit message"), branch=_BRANCH), _DESTROY),
    _tool(writes.create_branch, "Create a new branch in a repository.", _at(branch=_text("Name for new branch"), from_branch=_text("Source branch")), _WRITE),
    _tool(writes.delete_branch, "Delete a branch.", _at(branch=_text("Name of the branch")), _DESTROY),
    _tool(writes.create_pull_request, "Create a new pull request in a repository.", _at(title=_text("PR title"), body=_text("PR description"), head=_text("Branch containing changes"), base=_text("Branch to merge into"), draft=_FLAG), _WRITE),
    _tool(writes.update_pull_request, "Update an existing pull request.", _at(pull_number=_PULL, title=_TEXT, body=_TEXT, state=_text("New state", enum=["open", "closed"]), draft=_FLAG, base=_TEXT), _WRITE),
    _tool(writes.merge_pull_request, "Merge a pull request in a repository.", _at(pull_number=_PULL, merge_method=_text("Merge method", enum=["merge", "squash", "rebase"]), commit_title=_TEXT), _DESTROY),
    _tool(writes.request_review, "Request reviews from users on a pull request.", _at(pull_number=_PULL, reviewers={**_LIST, "description": "Usernames"}), _WRITE),
    _tool(writes.pull_request_review_write, "Create and submit a review of a pull request.", _at(pull_number=_PULL, event=_text("Review action", enum=["APPROVE", "REQUEST_CHANGES", "COMMENT"]), body=_text("Review comment text")), _WRITE),
    _tool(writes.create_release, "Publish a release.", _at(tag_name=_text("Tag"), name=_TEXT, body=_text("Release notes"), target_commitish=_TEXT, prerelease=_FLAG), _WRITE),
    _tool(writes.rerun_workflow, "Re-run an entire workflow run.", _at(run_id=_number("The unique identifier of the run")), _WRITE, "rerun_workflow_run"),
    _tool(writes.run_workflow, "Run a workflow by its file name.", _at(workflow_id=_text("Workflow file name, e.g. deploy.yml"), ref=_text("Branch or tag"), inputs={"type": "object"}), _WRITE),
)  # fmt: skip
_SETTING: Final = (
    _tool(settings.add_project_member, "Add a member to a project.", {"project_id": _PROJECT, "username": _text("Username"), "access_level": _text("Role", enum=["read", "write", "admin"])}, _WRITE, "gitlab_add_project_member"),
    _tool(settings.remove_project_member, "Remove a member from a project.", {"project_id": _PROJECT, "username": _text("Username")}, _DESTROY, "gitlab_remove_project_member"),
    _tool(settings.create_milestone, "Create a new milestone in a project.", {"project_id": _PROJECT, "title": _text("Title"), "due_date": _text("Due date", format="date")}, _WRITE, "gitlab_create_milestone"),
    _tool(settings.create_label, "Create a new label in a project.", {"project_id": _PROJECT, "name": _text("Name of the label"), "color": _text("Colour, e.g. #cccccc")}, _WRITE, "gitlab_create_label"),
    _tool(settings.set_variable, "Create or update a CI/CD variable (secret) of a project.", {"project_id": _PROJECT, "key": _text("Key"), "value": _text("Value"), "masked": _FLAG}, _WRITE, "gitlab_set_variable"),
    _tool(settings.delete_variable, "Delete a CI/CD variable of a project.", {"project_id": _PROJECT, "key": _text("Key")}, _DESTROY, "gitlab_delete_variable"),
    _tool(settings.create_webhook, "Create a repository webhook.", {"repository": _REPOSITORY, "url": _text("Payload URL", format="uri"), "events": _LIST}, _WRITE, "createWebhook"),
    _tool(settings.delete_webhook, "Delete a repository webhook.", {"repository": _REPOSITORY, "url": _text("Payload URL", format="uri")}, _DESTROY, "deleteWebhook"),
    _tool(settings.add_deploy_key, "Add a deploy key.", {"repository": _REPOSITORY, "title": _TEXT, "key": _text("Public key"), "readOnly": _FLAG}, _WRITE, "addDeployKey"),
    _tool(settings.delete_deploy_key, "Delete a deploy key.", {"repository": _REPOSITORY, "title": _TEXT}, _DESTROY, "deleteDeployKey"),
    _tool(settings.update_wiki_page, "Create or edit a wiki page.", {"repository": _REPOSITORY, "title": _text("Page title"), "content": _text("Page content in markdown")}, _WRITE, "updateWikiPage"),
    _tool(settings.update_repository, "Update settings of a repository.", _at(description=_TEXT, homepage=_text("URL", format="uri"), private=_FLAG, archived=_FLAG, default_branch=_TEXT, topics=_LIST), _DESTROY),
    _tool(settings.protect_branch, "Set or remove the protection of a branch.", _at(branch=_text("Branch name"), protected=_FLAG), _WRITE),
    _tool(settings.delete_repository, "Delete a repository. This cannot be undone.", _at(), _DESTROY),
    _tool(settings.create_gist, "Create a new gist.", {"description": _TEXT, "filename": _TEXT, "content": _text("Content of the file"), "public": _FLAG}, _WRITE),
    _tool(settings.add_ssh_key, "Add an SSH key to the account of the authenticated user.", {"title": _TEXT, "key": _text("The public SSH key")}, _WRITE),
    _tool(settings.update_profile, "Update the authenticated user.", {"name": _TEXT, "bio": _TEXT, "email": _text("Publicly visible email", format="email"), "status": _TEXT}, _WRITE),
    _tool(settings.invite_to_organization, "Invite a user to an organization.", {"org": _text("Organization"), "invitee": _text("Username or email"), "role": _text("Role", enum=["member", "admin"])}, _WRITE),
    _tool(settings.dismiss_notification, "Mark a notification as read or done.", {"thread_id": _text("The ID of the notification thread")}, _WRITE),
)  # fmt: skip
TOOLS: Final = (*_READING, *_WRITING, *_SETTING)
