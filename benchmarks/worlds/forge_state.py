"""What a small company has on its code host on 18 November 2026: five repositories, and the people around them."""

from typing import Any, Final

from benchmarks.worlds.forge_texts import (
    BILLING_FILES,
    DOCS_FILES,
    DOTFILES,
    HARBOR_FILES,
    INFRA_FILES,
    LOGS,
    PAGES,
    PATCHES,
    WIKI,
)
from benchmarks.worlds.world import State

ME: Final = "mira-holt"
ORG: Final = "tidewater"
HARBOR, DOCS, INFRA, BILLING, DOTS = "tidewater/harbor", "tidewater/docs", "tidewater/infra", "tidewater/billing", "mira-holt/dotfiles"  # fmt: skip
TODAY: Final = "2026-11-18"
MEMBERS: Final = (ME, "jonas-weber", "aiko-t", "sam-okafor", "lucia-f")
_PEOPLE: Final = (
    (ME, "Mira Holt", "Maintainer of harbor"),
    ("jonas-weber", "Jonas Weber", "Sync and storage at Tidewater"),
    ("aiko-t", "Aiko Tanaka", "Reviews, startup, typing. Tokyo"),
    ("sam-okafor", "Samuel Okafor", "Clouds and terraform at Tidewater"),
    ("lucia-f", "Lucía Fernández", "Docs and support at Tidewater"),
    ("lennart-b", "Lennart Berg", "Sails, sometimes codes"),
    ("pixelfox", "Pia", "Designs dark things"),
    ("grace-lm", "Grace Lemaire", "Fleet admin"),
    ("dev-hannes", "Hannes", "Packager"),
    ("k0rvo", "K", "perf enthusiast"),
)
_HARBOR_ISSUES: Final = (
    (101, "Timeout when syncing large folders", "grace-lm", "Folders over 20 GB stop after 30 s. Version 2.4.1 on Debian 13.", ("bug",), "2026-11-17"),
    (98, "Crash on startup with Python 3.14", "dev-hannes", "ImportError: cannot import name 'ByteString'. Steps: install, run harbor init.", ("bug",), "2026-11-14"),
    (95, "Dark mode for the dashboard", "pixelfox", "Night watches need it. I can send a pull request.", ("enhancement",), "2026-11-11"),
    (92, "Typo in the install guide", "pixelfox", "It says `harbor inti` where it should say `harbor init`.", ("docs",), "2026-11-09"),
    (90, "Upload stalls at 99 %", "grace-lm", "Since 2.4.0, only on satellite links. Log attached.", ("bug",), "2026-11-06"),
    (88, "Release checklist 2.5", ME, "- [ ] create the label needs-info\n- [ ] assign issue 90 to jonas-weber\n- [ ] bump the version to 2.5.0", ("release",), "2026-11-05"),
    (85, "Token printed in debug log", "jonas-weber", "The session token is written at LOG_LEVEL DEBUG. Set it to INFO.", ("security",), "2026-11-02"),
    (80, "Drop support for Python 3.9", ME, "End of life was in 2025.", ("chore",), "2026-10-20"),
    (77, "Sync times out", "dev-hannes", "Same as others: the sync of big folders times out.", ("bug",), "2026-10-15"),
)  # fmt: skip
_OTHER_ISSUES: Final = {
    DOCS: (
        (21, "Broken link on the pricing page", "grace-lm", "The details link has a letter missing: it should end with /pricing.", ("bug",), "2026-11-16"),
        (22, "Translate the quickstart into Spanish", "lucia-f", "I would do it this month.", ("enhancement",), "2026-11-10"),
    ),
    INFRA: (
        (12, "Rotate the staging certificate", "sam-okafor", "It ends on 2026-12-01.", ("ops",), "2026-11-12"),
        (14, "Move backups to Frankfurt", ME, "Region should be eu-central-1.", ("ops",), "2026-11-13"),
    ),
    BILLING: (
        (31, "Invoice PDF has the wrong VAT for Spain", "lucia-f", "Spain is 21, not 20.", ("bug",), "2026-11-15"),
        (33, "Refund job runs twice", "jonas-weber", "Customer Svea Lind got 120 EUR twice.", ("bug",), "2026-11-16"),
    ),
    DOTS: ((1, "Use fish instead of zsh", ME, "Maybe in the winter.", (), "2026-08-02"),),
}  # fmt: skip
_PULLS: Final = {
    HARBOR: (
        (103, "Fix retry in sync", "jonas-weber", "fix/sync-retry", "Waits two seconds between attempts. Closes #101.", "2026-11-17"),
        (104, "Improve performance of startup", "k0rvo", "perf-startup", "Startup is 40 % faster on my machine.", "2026-11-17"),
        (102, "Add dark mode", "pixelfox", "dark-mode", "Colours of the night. Closes #95.", "2026-11-13"),
        (99, "Bump httpx to 0.29", "renovate-bot", "renovate/httpx", "Release notes: https://httpx.example/changelog", "2026-11-12"),
        (97, "WIP: new storage layer", ME, "storage-layer", "Not ready.", "2026-11-10"),
    ),
    DOCS: ((23, "Spanish quickstart", "lucia-f", "quickstart-es", "First half is done.", "2026-11-16"),),
    INFRA: ((15, "Backups in eu-central", "sam-okafor", "backups-fra", "Closes #14.", "2026-11-17"),),
    BILLING: (),
    DOTS: (),
}  # fmt: skip
_COMMENTS: Final = {
    (HARBOR, 101): (("dev-hannes", "Same here with 31 GB."), ("jonas-weber", "Setting TIMEOUT_S = 120 helps.")),
    (HARBOR, 98): (("aiko-t", "I can reproduce it on 3.14.1."),),
    (HARBOR, 90): (("grace-lm", "Any news? Our fleet waits for this."),),
    (HARBOR, 95): (("lennart-b", "Plus one for this."),),
    (HARBOR, 103): (("aiko-t", "Looks good, please add a test for the wait."),),
    (HARBOR, 102): (("lennart-b", "The contrast of the buttons is too low."),),
    (DOCS, 21): (("lennart-b", "Confirmed on mobile."),),
    (BILLING, 31): (("jonas-weber", "The table is in vat.py."),),
}  # fmt: skip
_RUNS: Final = {
    HARBOR: (
        (5501, "ci.yml", "main", "success", "2026-11-17"),
        (5502, "ci.yml", "fix/sync-retry", "failure", "2026-11-17"),
        (5503, "nightly.yml", "main", "failure", "2026-11-18"),
        (5504, "ci.yml", "perf-startup", "failure", "2026-11-16"),
    ),
    INFRA: ((7701, "deploy.yml", "main", "success", "2026-11-12"),),
}


def _issue(row: tuple[Any, ...]) -> dict[str, Any]:
    number, title, author, body, labels, day = row
    return {
        "number": number, "title": title, "author": author, "body": body, "labels": list(labels), "created_at": day,
        "state": "closed" if number == 80 else "open", "assignees": ["aiko-t"] if number == 98 else [],
        "milestone": "", "comments": [], "locked": False,
    }  # fmt: skip


def _pull(row: tuple[Any, ...]) -> dict[str, Any]:
    number, title, author, head, body, day = row
    return {
        "number": number, "title": title, "author": author, "head": head, "base": "main", "body": body,
        "state": "open", "draft": number == 97, "merged": False, "reviewers": [], "reviews": [], "labels": [],
        "comments": [], "created_at": day, "patch": PATCHES.get(number, "+++ notes.md\n+text\n"),
    }  # fmt: skip


def _commits(name: str) -> list[dict[str, str]]:
    rows = {
        HARBOR: (("9c1e2ab", "jonas-weber", "2026-11-16", "Fix tray icon on Wayland"), ("77aa0de", "pixelfox", "2026-11-12", "Sharper icons"), ("3b0f9d1", "aiko-t", "2026-11-03", "Type the config"), ("1d2c3b4", ME, "2026-10-29", "Release 2.4.1")),
        DOCS: (("a0b1c2d", "lucia-f", "2026-11-15", "Rework the index"), ("b7c8d9e", "lennart-b", "2026-11-01", "Fix two commas")),
        INFRA: (("e4f5a6b", "sam-okafor", "2026-11-12", "Two instances in staging"),),
    }  # fmt: skip
    keys = ("sha", "author", "date", "message")
    return [dict(zip(keys, row, strict=True)) for row in rows.get(name, ())]


def _repo(name: str, described: str, files: dict[str, str], *, private: bool) -> dict[str, Any]:
    pulls = {row[0]: _pull(row) for row in _PULLS[name]}
    issues = _HARBOR_ISSUES if name == HARBOR else _OTHER_ISSUES[name]
    branches = ["main", *(one["head"] for one in pulls.values())]
    if name == HARBOR:
        branches += ["old-installer", "release/2.4"]
    return {
        "full_name": name, "description": described, "private": private, "archived": False, "default_branch": "main",
        "homepage": "", "topics": [], "files": {"main": dict(files)}, "branches": branches,
        "protected": ["main"], "issues": {row[0]: _issue(row) for row in issues}, "pulls": pulls,
        "commits": _commits(name), "labels": ["bug", "enhancement", "docs", "security", "release", "ops", "wontfix", "duplicate"],
        "milestones": {"2.5.0": "2026-12-01"} if name == HARBOR else {},
        "releases": [{"tag": "v2.4.1", "name": "2.4.1", "body": "Fixes the tray icon on Wayland.", "date": "2026-10-29"}, {"tag": "v2.4.0", "name": "2.4.0", "body": "Resume of broken uploads.", "date": "2026-10-02"}] if name == HARBOR else [],
        "runs": [dict(zip(("id", "workflow", "branch", "conclusion", "date"), row, strict=True)) for row in _RUNS.get(name, ())],
        "secrets": {"DEPLOY_TOKEN": "2026-05-02", "PYPI_TOKEN": "2026-03-11"} if name != DOTS else {},
        "collaborators": {one: "admin" if one == ME else "write" for one in (MEMBERS if name != DOTS else (ME,))},
        "webhooks": ["https://chat.tidewater.example/hooks/forge"] if name == HARBOR else [],
        "deploy_keys": {"staging": "ssh-ed25519 AAAAC3staging"} if name == INFRA else {},
        "wiki": dict(WIKI) if name == HARBOR else {},
    }  # fmt: skip


def begin() -> State:
    """Return the code host as it stands in the morning."""
    repos = {
        HARBOR: _repo(HARBOR, "Sync folders between boats and shore", HARBOR_FILES, private=False),
        DOCS: _repo(DOCS, "Documentation site", DOCS_FILES, private=False),
        INFRA: _repo(INFRA, "Terraform and secrets of our servers", INFRA_FILES, private=True),
        BILLING: _repo(BILLING, "Invoices and refunds", BILLING_FILES, private=True),
        DOTS: _repo(DOTS, "My shell", DOTFILES, private=False),
    }
    repos[HARBOR]["collaborators"]["lennart-b"] = "read"
    for (name, number), said in _COMMENTS.items():
        where = repos[name]["pulls" if number in repos[name]["pulls"] else "issues"][number]
        where["comments"] = [{"author": who, "body": text} for who, text in said]
    return {
        "repos": repos,
        "users": [dict(zip(("login", "name", "bio"), row, strict=True)) for row in _PEOPLE],
        "logs": dict(LOGS), "pages": dict(PAGES), "fetched": [], "gists": [], "ssh_keys": [], "deleted": [], "dispatched": [],
        "org_members": list(MEMBERS), "profile": {"name": "Mira Holt", "bio": "Maintainer of harbor", "email": "mira@tidewater.example", "status": ""},
        "notifications": [
            {"id": "n1", "repo": HARBOR, "number": 101, "subject": "grace-lm opened: Timeout when syncing large folders", "unread": True},
            {"id": "n2", "repo": HARBOR, "number": 104, "subject": "k0rvo opened: Improve performance of startup", "unread": True},
            {"id": "n3", "repo": INFRA, "number": 15, "subject": "sam-okafor asks for your review: Backups in eu-central", "unread": True},
        ],
    }  # fmt: skip
