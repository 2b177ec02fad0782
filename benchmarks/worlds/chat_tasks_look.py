"""Tasks that look things up beside the messages: profiles, canvases, reminders, invitations, preferences, pages."""

import json
import re
from typing import Final

from benchmarks.worlds.chat_agent import (
    Work,
    direct,
    history,
    people,
    person,
    said,
    search,
    task,
    told,
)
from benchmarks.worlds.world import Use


def _profile(name: str, *keys: str) -> Work:
    def work(use: Use) -> str:
        found = use("slack_get_user_profile", user_id=person(use, name))["profile"]
        return " ".join(str(found[key]) for key in keys)

    return work


def _canvas(title: str, *words: str) -> Work:
    def work(use: Use) -> str:
        titles = [one[2:] for one in str(use("slack_list_canvases")).split("\n")[1:]]
        found = next(one for one in titles if one.casefold().startswith(title))
        lines = str(use("slack_read_canvas", title=found)).split("\n")
        return "\n".join(one for one in lines if not words or any(word in one for word in words))

    return work


def _reminders(use: Use) -> str:
    return str(use("slack_list_reminders"))


def _waiting(use: Use) -> str:
    rows = use("slack_list_invitations")["invitations"]
    return ", ".join(f"{one['email']}: {one['note']}" for one in rows if one["state"] == "pending")


def _preference(name: str) -> Work:
    return lambda use: json.loads(use("slack_get_preferences"))[name]


def _page(url: str) -> Work:
    return lambda use: use("fetch", url=url)


def link(text: str) -> str:
    """Return the first address in a text."""
    return str(re.findall(r"https://[^\s\"\\?\]]+", text)[0])


def _linked(query: str) -> Work:
    return lambda use: use("fetch", url=link(said(search(use, query)[:1])))


def _newest_link(name: str) -> Work:
    def work(use: Use) -> str:
        with_link = [one for one in history(use, name) if "https://" in one["text"]]
        return str(use("fetch", url=link(with_link[0]["text"])))

    return work


def _newest_colleague(use: Use) -> str:
    return str(max((one for one in people(use) if one["kind"] == "member"), key=lambda one: one["joined"])["real_name"])  # fmt: skip


def _both(name: str, title: str) -> Work:
    def work(use: Use) -> str:
        return f"{direct(use, name)}\n{use('slack_read_canvas', title=title)}"

    return work


def _local(name: str) -> Work:
    return lambda use: next(one["tz"] for one in people(use) if one["id"] == person(use, name))


TASKS: Final = (
    task("profile: jonas", "whats jonas' phone number", told(_profile("jonas", "phone"), "1211"), "profile status"),
    task("profile: marlo", "Who is Marlo Finch again? title + email pls", told(_profile("marlo finch", "title", "email"), "Bright", "marlo@"), "profile status"),
    task("profile: kasia", "what does kasia do here", told(_profile("kasia", "title"), "Office"), "profile status"),
    task("profile: greta", "Has Greta set a status? And what is her title?", told(_profile("greta", "title", "status_text"), "Head of Design"), "profile status"),
    task("local: emi", "which timezone is Emi in", told(_local("emi"), "Asia/Tokyo")),
    task("canvas: pricing", "Who owns the pricing page according to the launch checklist?", told(_canvas("launch checklist", "Pricing"), "Liam"), "canvas"),
    task("canvas: refunds", "who do refunds get escalated to? should be in the support handbook", told(_canvas("support handbook"), "Ben for refunds"), "canvas"),
    task("canvas: retro", "Was war unsere Massnahme aus dem Retro March Canvas?", told(_canvas("retro march", "Action"), "Jonas renews"), "canvas"),
    task("canvas: buddy", "whos the buddy of new hires, see the onboarding canvas", told(_canvas("onboarding", "Buddy"), "Liam"), "canvas"),
    task("reminders: all", "what reminders do i have", told(_reminders, "plants", "parking"), "reminder text"),
    task("reminders: kasia", "did kasia set me a reminder? what for", told(_reminders, "parking form"), "reminder text"),
    task("waiting: all", "are there any guest invitations waiting for me", told(_waiting, "sam@nordlys", "lena@"), "invitation note"),
    task("waiting: sam", "Why does Farid want to invite sam from Nordlys?", told(_waiting, "Pilot customer"), "invitation note"),
    task("preference: 2fa", "is my two factor on?", told(_preference("two_factor"), "on")),
    task("preference: dnd", "from when to when is do not disturb on for me", told(_preference("do_not_disturb"), "22:00")),
    task("page: tram", "does line 17 run on the 21st? https://tram.oslo.example/line-17", told(_page("https://tram.oslo.example/line-17"), "No trams"), "page"),
    task("page: four days", "Summarize https://news.nordic.example/four-day-week in one sentence.", told(_page("https://news.nordic.example/four-day-week"), "86 %"), "page"),
    task("page: lunch", "whats for lunch on wednesday (https://lunch.grocer.example/menu)", told(_page("https://lunch.grocer.example/menu"), "tacos"), "page"),
    task("page: cloud", "How long was the incident on https://status.cloudhost.example/incidents ?", told(_page("https://status.cloudhost.example/incidents"), "52 minutes"), "page"),
    task("linked: brand", "open the brand guide that greta linked in general and tell me the primary colour", told(_linked("brand guide"), "#0A4D68"), "page", "message"),
    task("linked: headlines", "what headline candidates are on the page linked in #launch-spring", told(_linked("headline candidates"), "calm way"), "page"),
    task("linked: agenda", "when does our demo start? there's a link to the draft agenda from Marlo", told(_linked("draft agenda"), "15:10 Demo"), "page", "message"),
    task("newest link: design", "Read the latest article that somebody posted in #design and tell me the main point.", told(_newest_link("design"), "4.5 to 1"), "page", "message"),
    task("newest colleague: who", "who is the newest colleague?", told(_newest_colleague, "Noor")),
    task("both: copy", "Chloé needs something from me by Wednesday; what, and is it on the Launch checklist?", told(_both("chloé", "Launch checklist"), "final copy", "Legal text"), "direct message", "canvas"),
)  # fmt: skip
"""What people ask a chat's other corners."""
