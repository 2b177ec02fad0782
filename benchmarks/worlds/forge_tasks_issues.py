"""Tasks on the code host that open, answer, sort and close issues."""

from typing import Any, Final

from benchmarks.worlds.forge_state import BILLING, DOCS, DOTS, HARBOR, INFRA, ME
from benchmarks.worlds.forge_tasks import Made, at, best, issues, login, look_up, pulls, task
from benchmarks.worlds.world import State, Use


def _one(state: State, full_name: str, number: int) -> dict[str, Any]:
    where = state["repos"][full_name]
    found: dict[str, Any] = {**where["issues"], **where["pulls"]}[number]
    return found


def _said(full_name: str, number: int, body: str) -> Any:
    return lambda state: {"author": ME, "body": body} in _one(state, full_name, number)["comments"]


def _opens(full_name: str, title: str, body: str = "", **more: Any) -> Made:
    def steps(use: Use) -> None:
        use("create_issue", **at(full_name), title=title, body=body, **more)

    def done(state: State) -> bool:
        rows = state["repos"][full_name]["issues"].values()
        return any((one["title"], one["author"]) == (title, ME) for one in rows)

    return steps, done


def _opens_in(repo: str, title: str, full_name: str) -> Made:
    """Look whether it exists already, then open it."""

    def steps(use: Use) -> None:
        where = look_up(use, repo)
        rows = use("search_issues", query=title)["items"]
        if not any(row["title"] == title for row in rows):
            use("create_issue", **where, title=title)

    return steps, _opens(full_name, title)[1]


def _closes(full_name: str, number: int) -> Made:
    def steps(use: Use) -> None:
        use("get_issue", **at(full_name), issue_number=number)
        use("update_issue", **at(full_name), issue_number=number, state="closed")

    return steps, lambda state: _one(state, full_name, number)["state"] == "closed"


def _closes_titled(repo: str, words: tuple[str, ...], full_name: str, number: int) -> Made:
    def steps(use: Use) -> None:
        where = look_up(use, repo)
        found = best(issues(use, where), *words)["number"]
        use("update_issue", **where, issue_number=found, state="closed")

    return steps, lambda state: _one(state, full_name, number)["state"] == "closed"


def _reopens(repo: str, words: str, full_name: str, number: int) -> Made:
    def steps(use: Use) -> None:
        where = look_up(use, repo)
        found = best(issues(use, where, state="closed"), words)["number"]
        use("update_issue", **where, issue_number=found, state="open")

    return steps, lambda state: _one(state, full_name, number)["state"] == "open"


def _answers(full_name: str, number: int, body: str) -> Made:
    def steps(use: Use) -> None:
        use("get_issue", **at(full_name), issue_number=number)
        use("get_issue_comments", **at(full_name), issue_number=number)
        use("add_issue_comment", **at(full_name), issue_number=number, body=body)

    return steps, _said(full_name, number, body)


def _answers_titled(repo: str, words: str, body: str, full_name: str, number: int) -> Made:
    def steps(use: Use) -> None:
        where = look_up(use, repo)
        found = best(issues(use, where), words)["number"]
        use("add_issue_comment", **where, issue_number=found, body=body)

    return steps, _said(full_name, number, body)


def _answers_pull(repo: str, words: str, body: str, full_name: str, number: int) -> Made:
    def steps(use: Use) -> None:
        where = look_up(use, repo)
        found = best(pulls(use, where), words)["number"]
        use("add_issue_comment", **where, issue_number=found, body=body)

    return steps, _said(full_name, number, body)


def _assigns(full_name: str, number: int, name: str, who: str) -> Made:
    """Assign somebody whom the user calls by a first name."""

    def steps(use: Use) -> None:
        found = who if who == name else login(use, name)
        use("update_issue", **at(full_name), issue_number=number, assignees=[found])

    return steps, lambda state: who in _one(state, full_name, number)["assignees"]


def _labels(full_name: str, number: int, label: str) -> Made:
    def steps(use: Use) -> None:
        known = use("gitlab_list_labels", project_id=full_name)["labels"]
        one = use("get_issue", **at(full_name), issue_number=number)
        wanted = next((row for row in known if row.casefold() == label.casefold()), label)
        use("update_issue", **at(full_name), issue_number=number, labels=[*one["labels"], wanted])

    return steps, lambda state: label in _one(state, full_name, number)["labels"]


def _retitles(full_name: str, number: int, title: str) -> Made:
    def steps(use: Use) -> None:
        use("update_issue", **at(full_name), issue_number=number, title=title)

    return steps, lambda state: _one(state, full_name, number)["title"] == title


def _milestones(repo: str, words: str, milestone: str, full_name: str, number: int) -> Made:
    def steps(use: Use) -> None:
        where = look_up(use, repo)
        rows = use("gitlab_list_milestones", project_id="/".join(where.values()))["milestones"]
        found = best(issues(use, where), words)["number"]
        use("update_issue", **where, issue_number=found, milestone=best(rows, milestone)["title"])

    return steps, lambda state: _one(state, full_name, number)["milestone"] == milestone


def _locks(full_name: str, number: int) -> Made:
    def steps(use: Use) -> None:
        use("get_issue_comments", **at(full_name), issue_number=number)
        use("lock_issue", **at(full_name), issue_number=number)

    return steps, lambda state: bool(_one(state, full_name, number)["locked"])


ISSUING: Final = (
    task("open flaky", "open an issue in tidewater/harbor: 'Flaky test in test_sync', body 'Fails one time in ten.'", _opens(HARBOR, "Flaky test in test_sync", "Fails one time in ten.")),
    task("open for sam", "New issue in tidewater/infra titled 'Renew domain tidewater.example', assign it to sam-okafor", _opens(INFRA, "Renew domain tidewater.example", assignees=["sam-okafor"])),
    task("open with label", "create a docs issue in tidewater/docs 'Explain --queue', label enhancement", _opens(DOCS, "Explain --queue", labels=["enhancement"])),
    task("open note to self", "mach ein Issue in mira-holt/dotfiles: 'Alias für ruff'", _opens(DOTS, "Alias für ruff")),
    task("open unless there", "if there's no issue 'Support Windows ARM' in harbor yet, open one", _opens_in("harbor", "Support Windows ARM", HARBOR), "repository"),
    task("open unless there billing", "File 'Add reverse charge' in billing unless somebody has already", _opens_in("billing", "Add reverse charge", BILLING)),
    task("close 92", "close issue 92 in tidewater/harbor, its fixed", _closes(HARBOR, 92), "issue body"),
    task("close dotfiles", "Close mira-holt/dotfiles#1, I will never do that", _closes(DOTS, 1)),
    task("close dark mode", "please close the dark mode issue in harbor", _closes_titled("harbor", ("dark mode",), HARBOR, 95), "issue title"),
    task("close certificate", "the certificate one in infra is done, close it", _closes_titled("infra", ("certificate",), INFRA, 12)),
    task("close vat", "schließ das Ticket mit der falschen VAT in billing", _closes_titled("billing", ("vat",), BILLING, 31)),
    task("reopen 3.9", "reopen the python 3.9 issue in harbor", _reopens("harbor", "python 3.9", HARBOR, 80), "repository"),
    task("answer 101", "comment on tidewater/harbor#101: We will fix this in 2.5.0.", _answers(HARBOR, 101, "We will fix this in 2.5.0."), "issue body", "comment"),
    task("answer 98", "Reply to issue 98 in tidewater/harbor with 'Thanks, confirmed on 3.14.1.'", _answers(HARBOR, 98, "Thanks, confirmed on 3.14.1."), "issue body", "comment"),
    task("answer docs 21", "write 'Fixed, thank you!' on tidewater/docs issue 21", _answers(DOCS, 21, "Fixed, thank you!"), "comment", "issue body"),
    task("answer upload", "tell them 'Which link speed do you have?' on the upload stalls issue in harbor", _answers_titled("harbor", "upload stalls", "Which link speed do you have?", HARBOR, 90), "issue title"),
    task("answer refund", "comment 'Support has been told.' on the refund issue in billing", _answers_titled("billing", "refund", "Support has been told.", BILLING, 33)),
    task("answer pull dark mode", "on the dark mode PR in harbor say: Great work, one nit on contrast.", _answers_pull("harbor", "dark mode", "Great work, one nit on contrast.", HARBOR, 102), "pull title"),
    task("answer pull spanish", "pon 'Gracias Lucía!' en el PR de Spanish quickstart en docs", _answers_pull("docs", "spanish", "Gracias Lucía!", DOCS, 23), "repository"),
    task("assign jonas", "assign tidewater/harbor issue 101 to Jonas", _assigns(HARBOR, 101, "Jonas", "jonas-weber"), "profile"),
    task("assign aiko", "give #85 in tidewater/harbor to Aiko", _assigns(HARBOR, 85, "Aiko", "aiko-t"), "profile"),
    task("assign lucia", "tidewater/docs 21 should be Lucía's", _assigns(DOCS, 21, "Lucía", "lucia-f"), "profile"),
    task("assign me", "assign tidewater/infra issue 12 to mira-holt", _assigns(INFRA, 12, ME, ME)),
    task("label duplicate", "label tidewater/harbor 77 as duplicate", _labels(HARBOR, 77, "duplicate"), "issue body"),
    task("label wontfix", "Put the label wontfix on tidewater/harbor#95", _labels(HARBOR, 95, "wontfix"), "issue body"),
    task("label security billing", "add label security to issue 33 in tidewater/billing", _labels(BILLING, 33, "security")),
    task("rename 77", "rename tidewater/harbor issue 77 to 'Sync of big folders times out'", _retitles(HARBOR, 77, "Sync of big folders times out")),
    task("milestone upload", "put the upload stalls issue of harbor into milestone 2.5.0", _milestones("harbor", "upload stalls", "2.5.0", HARBOR, 90), "issue title"),
    task("milestone crash", "Crash on startup in harbor -> milestone 2.5.0", _milestones("harbor", "crash on startup", "2.5.0", HARBOR, 98), "issue title"),
    task("lock 95", "lock the conversation of tidewater/harbor 95", _locks(HARBOR, 95), "comment"),
)  # fmt: skip
