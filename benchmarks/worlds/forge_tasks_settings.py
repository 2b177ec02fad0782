"""Tasks on the code host with people, milestones, secrets, hooks, keys, the wiki and settings."""

from typing import Any, Final

from benchmarks.worlds.forge_state import BILLING, DOCS, HARBOR, INFRA
from benchmarks.worlds.forge_tasks import Made, at, best, login, look_up, path_of, task
from benchmarks.worlds.world import State, Use


def _lets_in(repo: str, name: str, role: str, full_name: str, who: str) -> Made:
    def steps(use: Use) -> None:
        project = path_of(use, repo)
        found = who if who == name else login(use, name)
        use("gitlab_add_project_member", project_id=project, username=found, access_level=role)

    return steps, lambda state: state["repos"][full_name]["collaborators"].get(who) == role


def _shuts_out(full_name: str, who: str) -> Made:
    def steps(use: Use) -> None:
        rows = use("gitlab_list_project_members", project_id=full_name)["members"]
        found = best(rows, who, key="username")["username"]
        use("gitlab_remove_project_member", project_id=full_name, username=found)

    return steps, lambda state: who not in state["repos"][full_name]["collaborators"]


def _milestone(full_name: str, title: str, day: str) -> Made:
    def steps(use: Use) -> None:
        use("gitlab_create_milestone", project_id=full_name, title=title, due_date=day)

    return steps, lambda state: state["repos"][full_name]["milestones"].get(title) == day


def _moves(repo: str, title: str, day: str, full_name: str) -> Made:
    def steps(use: Use) -> None:
        project = path_of(use, repo)
        rows = use("gitlab_list_milestones", project_id=project)["milestones"]
        found = best(rows, title)["title"]
        use("gitlab_create_milestone", project_id=project, title=found, due_date=day)

    return steps, lambda state: state["repos"][full_name]["milestones"].get(title) == day


def _label(full_name: str, name: str) -> Made:
    def steps(use: Use) -> None:
        if name not in use("gitlab_list_labels", project_id=full_name)["labels"]:
            use("gitlab_create_label", project_id=full_name, name=name)

    return steps, lambda state: name in state["repos"][full_name]["labels"]


def _secret(full_name: str, key: str, value: str) -> Made:
    def steps(use: Use) -> None:
        use("gitlab_set_variable", project_id=full_name, key=key, value=value, masked=True)

    return steps, lambda state: value in state["repos"][full_name]["secrets"].get(key, "")


def _drops_secret(repo: str, key: str, full_name: str) -> Made:
    def steps(use: Use) -> None:
        project = path_of(use, repo)
        use("gitlab_list_variables", project_id=project)
        use("gitlab_delete_variable", project_id=project, key=key)

    return steps, lambda state: key not in state["repos"][full_name]["secrets"]


def _hook(repo: str, url: str, full_name: str) -> Made:
    def steps(use: Use) -> None:
        use("createWebhook", repository=path_of(use, repo), url=url, events=["push"])

    return steps, lambda state: url in state["repos"][full_name]["webhooks"]


def _unhook(repo: str, host: str, full_name: str) -> Made:
    """Remove the hook that calls a host that the user names."""

    def steps(use: Use) -> None:
        name = path_of(use, repo)
        rows = use("listWebhooks", repository=name)["webhooks"]
        use("deleteWebhook", repository=name, url=best(rows, host, key="url")["url"])

    return steps, lambda state: not any(host in one for one in state["repos"][full_name]["webhooks"])  # fmt: skip


def _key(full_name: str, title: str, key: str) -> Made:
    def steps(use: Use) -> None:
        use("addDeployKey", repository=full_name, title=title, key=key, readOnly=True)

    return steps, lambda state: state["repos"][full_name]["deploy_keys"].get(title) == key


def _drops_key(repo: str, title: str, full_name: str) -> Made:
    def steps(use: Use) -> None:
        name = path_of(use, repo)
        use("listDeployKeys", repository=name)
        use("deleteDeployKey", repository=name, title=title)

    return steps, lambda state: title not in state["repos"][full_name]["deploy_keys"]


def _writes_wiki(repo: str, title: str, old: str, new: str, full_name: str) -> Made:
    def steps(use: Use) -> None:
        name = path_of(use, repo)
        text = use("getWikiPage", repository=name, title=title)
        use("updateWikiPage", repository=name, title=title, content=text.replace(old, new))

    def done(state: State) -> bool:
        text = state["repos"][full_name]["wiki"][title]
        return new in text and old not in text

    return steps, done


def _new_page(full_name: str, title: str, content: str) -> Made:
    def steps(use: Use) -> None:
        use("updateWikiPage", repository=full_name, title=title, content=content)

    return steps, lambda state: state["repos"][full_name]["wiki"].get(title) == content


def _sets(repo: str, full_name: str, **said: Any) -> Made:
    def steps(use: Use) -> None:
        use("update_repository", **look_up(use, repo), **said)

    return steps, lambda state: all(
        state["repos"][full_name][key] == value for key, value in said.items()
    )


def _protects(full_name: str, branch: str) -> Made:
    def steps(use: Use) -> None:
        rows = use("list_branches", **at(full_name))["branches"]
        found = best(rows, branch, key="name")["name"]
        use("protect_branch", **at(full_name), branch=found, protected=True)

    return steps, lambda state: branch in state["repos"][full_name]["protected"]


def _profile(**said: str) -> Made:
    def steps(use: Use) -> None:
        use("get_me")
        use("update_profile", **said)

    return steps, lambda state: all(state["profile"][key] == one for key, one in said.items())


def _gist(filename: str, content: str) -> Made:
    def steps(use: Use) -> None:
        use("create_gist", description="", filename=filename, content=content, public=False)

    return steps, lambda state: any(one["content"] == content for one in state["gists"])


SETTING: Final = (
    task("let lennart write", "give Lennart write access to harbor", _lets_in("harbor", "Lennart", "write", HARBOR, "lennart-b"), "profile", "repository"),
    task("let grace read", "add grace-lm to docs as read", _lets_in("docs", "grace-lm", "read", DOCS, "grace-lm"), "repository"),
    task("sam admin", "Make Samuel admin of infra.", _lets_in("infra", "Samuel", "admin", INFRA, "sam-okafor"), "profile"),
    task("shut out lennart", "remove lennart-b from tidewater/harbor", _shuts_out(HARBOR, "lennart-b")),
    task("shut out jonas", "jonas-weber no longer works on tidewater/billing, take him out", _shuts_out(BILLING, "jonas-weber")),
    task("milestone 2.6", "new milestone 2.6.0 in tidewater/harbor due 2027-02-01", _milestone(HARBOR, "2.6.0", "2027-02-01")),
    task("milestone docs", "create milestone 'Spring docs' for tidewater/docs, due 2027-03-15", _milestone(DOCS, "Spring docs", "2027-03-15")),
    task("move 2.5.0", "push the harbor 2.5.0 milestone to 2026-12-08", _moves("harbor", "2.5.0", "2026-12-08", HARBOR), "repository"),
    task("label help", "make a label 'help wanted' in tidewater/harbor", _label(HARBOR, "help wanted")),
    task("secret sentry", "set the secret SENTRY_DSN of tidewater/harbor to https://44@sentry.tidewater.example/3", _secret(HARBOR, "SENTRY_DSN", "https://44@sentry.tidewater.example/3")),
    task("secret rotate", "rotate DEPLOY_TOKEN in tidewater/docs, new value dt-9f3e77aa", _secret(DOCS, "DEPLOY_TOKEN", "dt-9f3e77aa")),
    task("drop secret", "delete PYPI_TOKEN from billing, we dont publish there", _drops_secret("billing", "PYPI_TOKEN", BILLING)),
    task("hook docs", "add a webhook https://preview.tidewater.example/build to docs for pushes", _hook("docs", "https://preview.tidewater.example/build", DOCS), "repository"),
    task("unhook chat", "remove the webhook to chat.tidewater.example from harbor", _unhook("harbor", "chat.tidewater.example", HARBOR), "repository"),
    task("key backup", "add deploy key 'backup' to tidewater/infra: ssh-ed25519 AAAAC3backup77", _key(INFRA, "backup", "ssh-ed25519 AAAAC3backup77")),
    task("drop key", "drop the staging deploy key of infra", _drops_key("infra", "staging", INFRA)),
    task("wiki duty aiko", "On the Releases page of the harbor wiki replace Jonas with Aiko", _writes_wiki("harbor", "Releases", "Jonas", "Aiko", HARBOR), "wiki page"),
    task("wiki tuesdays", "wiki of harbor, page Releases: Tuesdays -> Thursdays", _writes_wiki("harbor", "Releases", "Tuesdays", "Thursdays", HARBOR), "wiki page"),
    task("wiki new page", "create a wiki page 'Glossary' in tidewater/harbor: 'Fleet: all boats of a customer.'", _new_page(HARBOR, "Glossary", "Fleet: all boats of a customer.")),
    task("describe docs", "change the description of docs to 'Guides and reference'", _sets("docs", DOCS, description="Guides and reference"), "repository"),
    task("topics harbor", "set the topics of harbor to sync, offline, sailing", _sets("harbor", HARBOR, topics=["sync", "offline", "sailing"]), "repository"),
    task("homepage", "homepage of harbor should be https://tidewater.example/harbor", _sets("harbor", HARBOR, homepage="https://tidewater.example/harbor"), "repository"),
    task("protect 2.4", "protect the branch release/2.4 in tidewater/harbor", _protects(HARBOR, "release/2.4"), "branch name"),
    task("bio", "set my bio to 'Maintainer of harbor. Sails on weekends.'", _profile(bio="Maintainer of harbor. Sails on weekends.")),
    task("status", "my status: on holiday until monday", _profile(status="on holiday until monday")),
    task("gist", "make a secret gist sync.sh with: harbor sync ~/charts --queue", _gist("sync.sh", "harbor sync ~/charts --queue")),
)  # fmt: skip
