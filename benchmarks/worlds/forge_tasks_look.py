"""Tasks on the code host that read files, runs, releases, wiki, settings and pages, and tell the user."""

from typing import Any, Final

from benchmarks.worlds.forge_state import BILLING, DOCS, HARBOR, INFRA
from benchmarks.worlds.forge_tasks import (
    Made,
    at,
    best,
    file,
    loaded,
    look_up,
    path_of,
    pull,
    task,
    told,
)
from benchmarks.worlds.world import Use


def _in_file(repo: str, path: str, *right: str) -> Made:
    def work(use: Use) -> Any:
        return file(use, look_up(use, repo), path)

    return told(work, *right)


def _listed(full_name: str, folder: str, *right: str) -> Made:
    def work(use: Use) -> Any:
        return file(use, at(full_name), folder)

    return told(work, *right)


def _why_failed(repo: str, branch: str, *right: str) -> Made:
    def work(use: Use) -> Any:
        where = look_up(use, repo)
        runs = use("actions_list_workflow_runs", **where)["workflow_runs"]
        failed = [one for one in runs if one["conclusion"] == "failure"]
        return use("get_job_logs", **where, run_id=best(failed, branch, key="branch")["id"])

    return told(work, *right)


def _log(full_name: str, run: int, *right: str) -> Made:
    def work(use: Use) -> Any:
        return use("get_job_logs", **at(full_name), run_id=run)

    return told(work, *right)


def _latest(repo: str, *right: str) -> Made:
    def work(use: Use) -> Any:
        one = use("list_releases", **look_up(use, repo))["releases"][0]
        return one["tag"], one["date"], one["body"]

    return told(work, *right)


def _wiki(repo: str, title: str, *right: str) -> Made:
    def work(use: Use) -> Any:
        name = path_of(use, repo)
        rows = use("listWikiPages", repository=name)["pages"]
        return use("getWikiPage", repository=name, title=best(rows, title)["title"])

    return told(work, *right)


def _page(url: str, *right: str) -> Made:
    def work(use: Use) -> Any:
        return use("fetch", url=url)

    return told(work, *right)


def _commits_of(repo: str, who: str, *right: str) -> Made:
    def work(use: Use) -> Any:
        lines = str(use("list_commits", **look_up(use, repo))).splitlines()
        return [one for one in lines if f" {who}:" in one]

    return told(work, *right)


def _members(full_name: str, *right: str) -> Made:
    def work(use: Use) -> Any:
        return use("gitlab_list_project_members", project_id=full_name)["members"]

    return told(work, *right)


def _keys(repo: str, *right: str) -> Made:
    def work(use: Use) -> Any:
        name = path_of(use, repo)
        keys = use("listDeployKeys", repository=name)["keys"]
        return keys, use("listWebhooks", repository=name)["webhooks"]

    return told(work, *right)


def _secrets(full_name: str, *right: str) -> Made:
    def work(use: Use) -> Any:
        return use("gitlab_list_variables", project_id=full_name)

    return told(work, *right)


def _bare(full_name: str, *right: str) -> Made:
    def work(use: Use) -> Any:
        rows = use("list_branches", **at(full_name))["branches"]
        return [one["name"] for one in rows if not one["protected"]]

    return told(work, *right)


def _who_is(name: str, *right: str) -> Made:
    def work(use: Use) -> Any:
        row = best(loaded(use("search_users", query=name))["items"], name, key="name")
        return row["login"], row["bio"]

    return told(work, *right)


def _when(repo: str, milestone: str, *right: str) -> Made:
    def work(use: Use) -> Any:
        rows = use("gitlab_list_milestones", project_id=path_of(use, repo))["milestones"]
        return best(rows, milestone).get("due_date")

    return told(work, *right)


def _unreleased(repo: str, *right: str) -> Made:
    def work(use: Use) -> Any:
        where = look_up(use, repo)
        last = use("list_releases", **where)["releases"][0]["date"]
        lines = str(use("list_commits", **where)).splitlines()
        return [one for one in lines if one.split(" ")[1:2] > [last]]

    return told(work, *right)


def _linked(full_name: str, number: int, *right: str) -> Made:
    """Follow the link in a pull request."""

    def work(use: Use) -> Any:
        body = str(pull(use, at(full_name), number)["body"])
        return use("fetch", url=next(one for one in body.split() if one.startswith("https://")))

    return told(work, *right)


LOOKING: Final = (
    task("timeout in config", "what's the timeout in src/harbor/config.py of harbor", _in_file("harbor", "src/harbor/config.py", "TIMEOUT_S = 30"), "file content"),
    task("python version", "Which python does harbor need? its in pyproject.toml", _in_file("harbor", "pyproject.toml", ">=3.10"), "file content"),
    task("vat of portugal", "which VAT for Portugal do we use in billing? file vat.py", _in_file("billing", "vat.py", '"PT": 23')),
    task("on call", "who is on call this week? runbook.md in infra", _in_file("infra", "runbook.md", "Aiko")),
    task("reviewers rule", "how many approvals do we need, look in CONTRIBUTING.md of harbor", _in_file("harbor", "CONTRIBUTING.md", "two approvals"), "file content", "repository"),
    task("owners", "who owns /docs/ in harbor (.github/CODEOWNERS)", _in_file("harbor", ".github/CODEOWNERS", "@lucia-f"), "file content"),
    task("list workflows", "what is in .github/workflows of tidewater/harbor", _listed(HARBOR, ".github/workflows", "ci.yml")),
    task("list docs", "List the files in tidewater/docs", _listed(DOCS, "/", "pricing.md", "quickstart.md")),
    task("why nightly failed", "why did the nightly on main fail in harbor?", _why_failed("harbor", "main", "did not answer"), "log"),
    task("why retry failed", "ci is red on fix/sync-retry in harbor, why", _why_failed("harbor", "fix/sync-retry", "test_retry_waits"), "log"),
    task("why perf failed", "Why is perf-startup of harbor failing?", _why_failed("harbor", "perf-startup", "No module named 'rich'"), "log"),
    task("log of deploy", "what did run 7701 in tidewater/infra do", _log(INFRA, 7701, "2 added")),
    task("log of tests", "how many tests passed in run 5501 (tidewater/harbor)?", _log(HARBOR, 5501, "412 passed"), "log"),
    task("latest release", "when was the last harbor release and what was in it", _latest("harbor", "2026-10-29", "Wayland"), "release notes"),
    task("wiki duty", "who's on duty for releases? see the wiki of harbor, page Releases", _wiki("harbor", "Releases", "Jonas"), "wiki page"),
    task("wiki support", "Which address do we give for security reports? It's on the Support page of the harbor wiki.", _wiki("harbor", "Support", "security@tidewater.example"), "wiki page"),
    task("page advisory", "read https://advisories.example/CVE-2026-4410 and tell me the fixed version", _page("https://advisories.example/CVE-2026-4410", "14.2"), "web page"),
    task("page python", "resume https://docs.python.example/3/whatsnew/3.14.html en una frase", _page("https://docs.python.example/3/whatsnew/3.14.html", "template strings"), "web page"),
    task("page status", "was there an incident lately? https://tidewater.example/status", _page("https://tidewater.example/status", "2026-11-09"), "web page"),
    task("commits of jonas", "what did jonas-weber commit to harbor lately?", _commits_of("harbor", "jonas-weber", "tray icon"), "commit message"),
    task("commits of lennart", "did lennart-b ever commit to docs", _commits_of("docs", "lennart-b", "two commas"), "commit message"),
    task("members of billing", "Who can write to tidewater/billing?", _members(BILLING, "lucia-f", "write")),
    task("outsiders", "is lennart-b in tidewater/harbor and with which role", _members(HARBOR, "lennart-b", "read")),
    task("keys of infra", "which deploy keys and webhooks does infra have?", _keys("infra", "staging"), ),
    task("hooks of harbor", "webhooks on harbor? deploy keys too", _keys("harbor", "chat.tidewater.example"), "repository"),
    task("secrets of harbor", "When did we last update PYPI_TOKEN of tidewater/harbor", _secrets(HARBOR, "PYPI_TOKEN (updated 2026-03-11)")),
    task("bare branches", "which branches of tidewater/harbor aren't protected?", _bare(HARBOR, "old-installer"), "branch name"),
    task("who is grace", "who is Grace Lemaire", _who_is("Grace Lemaire", "grace-lm", "Fleet"), "profile"),
    task("who is sam", "whats samuel's login again", _who_is("Samuel", "sam-okafor"), "profile"),
    task("when is 2.5.0", "when is 2.5.0 of harbor due?", _when("harbor", "2.5.0", "2026-12-01"), "repository"),
    task("unreleased", "what went into harbor since the last release?", _unreleased("harbor", "Wayland", "Sharper icons"), "commit message", "release notes"),
    task("linked changelog", "PR 99 in tidewater/harbor links its release notes, does the new httpx break anything?", _linked(HARBOR, 99, "renames `proxies`"), "pull body", "web page"),
)  # fmt: skip
