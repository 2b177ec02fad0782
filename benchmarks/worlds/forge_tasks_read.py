"""Tasks on the code host that read issues and pull requests, and tell the user what stands there."""

from typing import Any, Final

from benchmarks.worlds.forge_state import BILLING, DOCS, HARBOR, INFRA
from benchmarks.worlds.forge_tasks import (
    Made,
    at,
    best,
    issues,
    loaded,
    look_up,
    pull,
    pulls,
    task,
    told,
)
from benchmarks.worlds.world import Use


def _issue(full_name: str, number: int, *right: str) -> Made:
    def work(use: Use) -> Any:
        one = use("get_issue", **at(full_name), issue_number=number)
        said = use("get_issue_comments", **at(full_name), issue_number=number)["comments"]
        return one["body"], [row["body"] for row in said]

    return told(work, *right)


def _issue_of(repo: str, words: tuple[str, ...], *right: str) -> Made:
    def work(use: Use) -> Any:
        where = look_up(use, repo)
        number = best(issues(use, where), *words)["number"]
        return use("get_issue", **where, issue_number=number)["body"]

    return told(work, *right)


def _newest(repo: str, *right: str) -> Made:
    def work(use: Use) -> Any:
        return issues(use, look_up(use, repo), state="open")[0]["title"]

    return told(work, *right)


def _count(full_name: str, label: str, *right: str) -> Made:
    def work(use: Use) -> Any:
        rows = issues(use, at(full_name), state="open", labels=[label])
        return len(rows), [row["title"] for row in rows]

    return told(work, *right)


def _searched(query: str, *right: str) -> Made:
    def work(use: Use) -> Any:
        rows = use("search_issues", query=query)["items"]
        return [(row["repository"], row["number"], row["author"], row["title"]) for row in rows]

    return told(work, *right)


def _patch(full_name: str, number: int, *right: str) -> Made:
    def work(use: Use) -> Any:
        about = pull(use, at(full_name), number)
        shown = use("pull_request_read", **at(full_name), pull_number=number, method="get_diff")
        return about["title"], shown

    return told(work, *right)


def _said_on(repo: str, words: tuple[str, ...], *right: str) -> Made:
    def work(use: Use) -> Any:
        where = look_up(use, repo)
        number = best(pulls(use, where), *words)["number"]
        rows = use("pull_request_read", **where, pull_number=number, method="get_comments")
        return [(row["author"], row["body"]) for row in loaded(rows)]

    return told(work, *right)


def _open_pulls(repo: str, *right: str) -> Made:
    def work(use: Use) -> Any:
        rows = pulls(use, look_up(use, repo))
        return [(row["number"], row["title"], row["author"]) for row in rows]

    return told(work, *right)


def _assigned(full_name: str, who: str, *right: str) -> Made:
    def work(use: Use) -> Any:
        rows = issues(use, at(full_name), state="all")
        return [row["title"] for row in rows if who in row["assignees"]]

    return told(work, *right)


def _by(repo: str, author: str, *right: str) -> Made:
    def work(use: Use) -> Any:
        return [row["title"] for row in issues(use, look_up(use, repo)) if row["author"] == author]

    return told(work, *right)


def _news(*right: str) -> Made:
    def work(use: Use) -> Any:
        return use("list_notifications", filter="default")

    return told(work, *right)


READING: Final = (
    task("sum up 101", "what is tidewater/harbor issue 101 about, and what do people say there?", _issue(HARBOR, 101, "20 GB", "TIMEOUT_S = 120"), "issue body", "comment"),
    task("sum up 98", "Summarize tidewater/harbor#98 with its comments please", _issue(HARBOR, 98, "ByteString", "3.14.1"), "issue body", "comment"),
    task("sum up 90", "any workaround mentioned in issue 90 of tidewater/harbor?", _issue(HARBOR, 90, "satellite"), "issue body", "comment"),
    task("sum up billing 31", "tidewater/billing issue 31, wer hat da was gesagt? kurz", _issue(BILLING, 31, "21, not 20", "vat.py")),
    task("sum up docs 21", "read me tidewater/docs#21 with comments", _issue(DOCS, 21, "a letter missing", "mobile"), "issue body", "comment"),
    task("what is the dark mode issue", "whats in the dark mode issue in harbor", _issue_of("harbor", ("dark mode",), "Night watches"), "issue title", "issue body"),
    task("what is the certificate issue", "When does the staging certificate end? There is an issue in infra about it.", _issue_of("infra", ("certificate",), "2026-12-01")),
    task("what is the refund issue", "cuánto recibió de más Svea? mira el issue de refund en billing", _issue_of("billing", ("refund",), "120 EUR")),
    task("release checklist", "what is still open on the release checklist of harbor?", _issue_of("harbor", ("release checklist",), "needs-info", "2.5.0"), "issue title"),
    task("newest in harbor", "What's the newest issue in harbor?", _newest("harbor", "Timeout"), "issue title"),
    task("newest in docs", "newest open issue in docs?", _newest("docs", "Spanish")),
    task("newest in infra", "which issue came last in infra", _newest("infra", "Frankfurt")),
    task("count bugs", "how many open bugs does tidewater/harbor have", _count(HARBOR, "bug", "4"), "issue title"),
    task("security issues", "List the open issues labelled security in tidewater/harbor.", _count(HARBOR, "security", "Token printed")),
    task("ops issues", "open ops issues in tidewater/infra pls", _count(INFRA, "ops", "2", "certificate")),
    task("search spanish", "do we have anything about Spanish anywhere?", _searched("spanish", "tidewater/docs", "22", "23"), "stranger issue"),
    task("search vat", "who reported the VAT problem", _searched("vat", "lucia-f"), "stranger issue"),
    task("search timeouts", "find all tickets that mention a timeout or times out... search for 'time'", _searched("time", "101", "77"), "issue body", "issue title", "stranger issue"),
    task("what does 103 change", "what does PR 103 in tidewater/harbor change?", _patch(HARBOR, 103, "wait_s=2")),
    task("what does 104 change", "Is there anything odd in pull request 104 of tidewater/harbor? Show me what it does.", _patch(HARBOR, 104, "urlopen"), "pull body", "patch"),
    task("what does 102 change", "tidewater/harbor 102: which colours does it add", _patch(HARBOR, 102, "#101418"), "pull body", "patch"),
    task("what does the bot change", "which dependency does tidewater/harbor pull 99 bump", _patch(HARBOR, 99, "httpx>=0.29"), "patch"),
    task("comments on retry", "What did aiko say on the retry PR in harbor?", _said_on("harbor", ("retry",), "add a test"), "comment", "pull title"),
    task("comments on dark mode", "did anyone comment on the dark mode pr in harbor yet", _said_on("harbor", ("dark mode",), "contrast"), "comment", "pull title"),
    task("open pulls harbor", "give me the open pull requests of harbor", _open_pulls("harbor", "103", "renovate-bot"), "pull title"),
    task("open pulls infra", "offene PRs in infra?", _open_pulls("infra", "sam-okafor")),
    task("assigned to aiko", "which tidewater/harbor issues are on aiko-t", _assigned(HARBOR, "aiko-t", "Crash on startup"), "issue title"),
    task("by grace", "What has grace-lm reported in harbor?", _by("harbor", "grace-lm", "Timeout", "Upload stalls"), "issue title"),
    task("by lucia", "issues that lucia-f opened in billing", _by("billing", "lucia-f", "VAT")),
    task("news", "anything new for me today?", _news("grace-lm", "sam-okafor"), "notification"),
    task("who wants my review", "Does anybody wait for my review?", _news("asks for your review"), "notification"),
)  # fmt: skip
