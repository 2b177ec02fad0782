"""Tasks about who is where: channels and their members, guests from outside, the user's own profile and preferences."""

from typing import Any, Final

from benchmarks.worlds.chat_agent import Work, channel, did, person, task
from benchmarks.worlds.chat_state import ME, person_id
from benchmarks.worlds.chat_tasks_post import Done
from benchmarks.worlds.world import State, Use


def _add(name: str, *who: str) -> Work:
    def work(use: Use) -> None:
        ids = [person(use, one) for one in who]
        use("slack_invite_to_channel", channel_id=channel(use, name), user_ids=ids)

    return work


def _put_out(name: str, who: str) -> Work:
    return lambda use: use("slack_remove_from_channel", channel_id=channel(use, name), user_id=person(use, who))  # fmt: skip


def _guest(email: str, name: str) -> Work:
    return lambda use: use("slack_invite_guest", email=email, channel_ids=[channel(use, name)])


def _decide(word: str, decision: str) -> Work:
    def work(use: Use) -> None:
        rows = use("slack_list_invitations")["invitations"]
        found = next(one for one in rows if word in f"{one['by']} {one['email']}")
        use("slack_answer_invitation", email=found["email"], decision=decision)

    return work


def _open(name: str, *who: str, private: bool) -> Work:
    def work(use: Use) -> None:
        made = use("slack_create_channel", name=name, is_private=private)["channel"]["id"]
        if who:
            ids = [person(use, one) for one in who]
            use("slack_invite_to_channel", channel_id=made, user_ids=ids)

    return work


def _topic(name: str, topic: str) -> Work:
    return lambda use: use("slack_set_channel_topic", channel_id=channel(use, name), topic=topic)


def _archive(name: str) -> Work:
    return lambda use: use("slack_archive_channel", channel_id=channel(use, name))


def _close(name: str) -> Work:
    return lambda use: use("slack_set_channel_privacy", channel_id=channel(use, name), is_private=True)  # fmt: skip


def _profile(**fields: str) -> Work:
    return lambda use: use("slack_update_profile", **fields)


def _prefer(name: str, value: str) -> Work:
    def work(use: Use) -> None:
        use("slack_get_preferences")
        use("slack_set_preference", name=name, value=value)

    return work


def _remind(text: str, due: str) -> Work:
    return lambda use: use("slack_add_reminder", text=text, due=due)


def _hook(name: str, url: str) -> Work:
    return lambda use: use("slack_add_outgoing_webhook", channel_id=channel(use, name), url=url)


def _named(state: State, name: str) -> dict[str, Any]:
    return next((one for one in state["channels"] if one["name"] == name), {})


def members(name: str, *shorts: str) -> Done:
    """See that a channel has these members."""
    return lambda state: {person_id(one) for one in shorts} <= set(_named(state, name).get("members", ()))  # fmt: skip


def without(name: str, short: str) -> Done:
    """See that somebody is no longer in a channel."""
    return lambda state: person_id(short) not in _named(state, name)["members"]


def has_topic(name: str, topic: str) -> Done:
    """See what a channel has as its topic."""
    return lambda state: _named(state, name).get("topic") == topic


def is_so(name: str, key: str) -> Done:
    """See that a channel is archived or private."""
    return lambda state: bool(_named(state, name).get(key))


def invitation(email: str, mode: str) -> Done:
    """See how an invitation stands."""
    return lambda state: any(one["email"] == email and one["state"] == mode for one in state["invitations"])  # fmt: skip


def i_am(key: str, value: str) -> Done:
    """See what the user's own profile says."""
    return lambda state: any(one["id"] == ME and one[key] == value for one in state["users"])


def reminded(word: str, due: str) -> Done:
    """See that there is a reminder for a day."""
    return lambda state: any(word in one["text"] and one["due"] == due for one in state["reminders"])  # fmt: skip


def _prefers(name: str, value: str) -> Done:
    return lambda state: bool(state["preferences"][name] == value)


def _hooked(url: str) -> Done:
    return lambda state: any(one["url"] == url for one in state["webhooks"])


TASKS: Final = (
    task("add: noor", "add noor to #engineering", did(_add("engineering", "noor"), members("engineering", "NOO")), "channel topic"),
    task("add: hugo", "can you get Hugo into the launch-spring channel", did(_add("launch-spring", "hugo"), members("launch-spring", "HUG")), "channel purpose"),
    task("add: two", "Füge Emiko und Liam zu #design hinzu", did(_add("design", "emiko", "liam"), members("design", "EMI", "LIA")), "channel name"),
    task("add: ada", "pls invite Ada to #support, she wants to follow the tickets", did(_add("support", "ada"), members("support", "ADA")), "channel topic"),
    task("put out: tom", "remove Tom Bright from partners-bright, his account ends", did(_put_out("partners-bright", "tom bright"), lambda state: "U92TOM" not in _named(state, "partners-bright")["members"]), "channel topic"),
    task("put out: dima", "kick dima out of #support", did(_put_out("support", "dima"), without("support", "DMI")), "channel purpose"),
    task("guest: karin", "invite karin.holm@nordlys.example as a guest to #support", did(_guest("karin.holm@nordlys.example", "support"), invitation("karin.holm@nordlys.example", "sent")), "channel topic"),
    task("guest: print", "Give hello@print-nord.example guest access to the design channel please.", did(_guest("hello@print-nord.example", "design"), invitation("hello@print-nord.example", "sent")), "channel name"),
    task("decide: greta", "approve the guest invite from greta", did(_decide("Greta", "approved"), invitation("lena@studio-nord.example", "approved")), "invitation note"),
    task("decide: farid", "Approve Farid's guest, the one from Nordlys.", did(_decide("Farid", "approved"), invitation("sam@nordlys.example", "approved")), "invitation note"),
    task("decide: sam", "deny the invitation of sam@nordlys.example", did(_decide("sam@nordlys", "denied"), invitation("sam@nordlys.example", "denied")), "invitation note"),
    task("open: summer", "make a private channel summer-party with Kasia and Emi in it", did(_open("summer-party", "kasia", "emi", private=True), members("summer-party", "KAT", "EMI"))),
    task("open: books", "create a channel book-club", did(_open("book-club", private=False), lambda state: bool(_named(state, "book-club")))),
    task("open: incident", "open a new channel incident-0316 and pull in jonas, dima and ada", did(_open("incident-0316", "jonas", "dima", "ada", private=False), members("incident-0316", "JON", "DMI", "ADA"))),
    task("set topic: random", "set the topic of #random to lunch at 12", did(_topic("random", "lunch at 12"), has_topic("random", "lunch at 12")), "channel topic"),
    task("set topic: support", "Change the support channel's topic to 'Handover 8:30 and 16:30'.", did(_topic("support", "Handover 8:30 and 16:30"), has_topic("support", "Handover 8:30 and 16:30")), "channel topic"),
    task("archive: website", "archive #old-website, nobody needs it", did(_archive("old-website"), is_so("old-website", "archived")), "channel purpose"),
    task("close: launch", "make launch-spring private", did(_close("launch-spring"), is_so("launch-spring", "is_private")), "channel topic"),
    task("profile: status", "set my status to 'In meetings until 3'", did(_profile(status_text="In meetings until 3"), i_am("status_text", "In meetings until 3"))),
    task("profile: title", "my title is now Head of Product, update my profile", did(_profile(title="Head of Product"), i_am("title", "Head of Product"))),
    task("profile: phone", "Change my phone number to +47 400 99 888.", did(_profile(phone="+47 400 99 888"), i_am("phone", "+47 400 99 888"))),
    task("prefer: dnd", "set do not disturb to 20:00-08:00", did(_prefer("do_not_disturb", "20:00-08:00"), _prefers("do_not_disturb", "20:00-08:00"))),
    task("prefer: digest", "email digest weekly pls instead of daily", did(_prefer("email_digest", "weekly"), _prefers("email_digest", "weekly"))),
    task("prefer: alerts", "Alert me for the keywords launch, mia, nordlys.", did(_prefer("keyword_alerts", "launch, mia, nordlys"), _prefers("keyword_alerts", "launch, mia, nordlys"))),
    task("remind: ben", "remind me on friday to call ben about the budget", did(_remind("Call Ben about the budget", "2026-03-20"), reminded("Ben", "2026-03-20"))),
    task("remind: parcel", "påminn meg i morgen om pakken i resepsjonen", did(_remind("Hent pakken i resepsjonen", "2026-03-17"), reminded("pakken", "2026-03-17"))),
    task("hook: support", "send every new message in #support to https://hooks.fjordworks.example/tickets", did(_hook("support", "https://hooks.fjordworks.example/tickets"), _hooked("https://hooks.fjordworks.example/tickets")), "channel topic"),
)  # fmt: skip
"""What people set up in a chat."""
