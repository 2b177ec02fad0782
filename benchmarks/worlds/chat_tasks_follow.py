"""Tasks that follow what somebody else has written: a request, a reminder, a list."""

import re
from typing import Final

from benchmarks.worlds.chat_agent import (
    channel,
    did,
    direct,
    history,
    person,
    search,
    task,
)
from benchmarks.worlds.chat_tasks_described import newest
from benchmarks.worlds.chat_tasks_look import link
from benchmarks.worlds.chat_tasks_people import (
    has_topic,
    i_am,
    invitation,
    members,
    reminded,
)
from benchmarks.worlds.chat_tasks_post import posted, sent
from benchmarks.worlds.world import State, Use


def _as_ben_asks(use: Use) -> None:
    found = re.findall(r"post in #([\w-]+): '([^']+)'", "\n".join(direct(use, "ben")))[0]
    use("slack_post_message", channel_id=channel(use, found[0]), text=found[1])


def _as_ada_asks(use: Use) -> None:
    asked = next(one for one in direct(use, "ada") if "post its headline" in one)
    headline = str(use("fetch", url=link(asked))).split("\n")[1]
    place = re.findall(r"in #([\w-]+)", asked)[0]
    use("slack_post_message", channel_id=channel(use, place), text=headline)


def _as_greta_asks(use: Use) -> None:
    asked = newest(use, "design", "greta")
    topic = re.findall(r"topic here to '([^']+)'", asked["text"])[0]
    use("slack_set_channel_topic", channel_id=asked["channel"], topic=topic)


def _as_emi_says(use: Use) -> None:
    asked = search(use, "status should say")[0]["text"]
    use("slack_update_profile", status_text=re.findall(r"'([^']+)'", asked)[0])


def _first_reminder(use: Use) -> None:
    line = str(use("slack_list_reminders")).split("\n")[1]
    email, name = re.findall(r"Invite (\S+) to #([\w-]+)", line)[0]
    use("slack_invite_guest", email=email, channel_ids=[channel(use, name)])


def _as_canvas_says(use: Use) -> None:
    text = str(use("slack_read_canvas", title="Onboarding"))
    name, who = re.findall(r"Add to #([\w-]+) in the first week: ([\w, ]+)\.", text)[0]
    ids = [person(use, one) for one in who.split(", ")]
    use("slack_invite_to_channel", channel_id=channel(use, name), user_ids=ids)


def _open_items(use: Use) -> None:
    text = str(use("slack_read_canvas", title="Launch checklist"))
    for what, who in re.findall(r"- \[ \] ([\w ]+): owner (\w+)", text):
        use("slack_send_direct_message", user_id=person(use, who), text=f"How is it going with: {what}?")  # fmt: skip


def _tick_off(use: Use) -> None:
    text = str(use("slack_read_canvas", title="Launch checklist"))
    ticked = text.replace("- [ ] Pricing", "- [x] Pricing")
    use("slack_write_canvas", title="Launch checklist", markdown=ticked)


def _notes(use: Use) -> None:
    lines = "\n".join(f"- {one['text']}" for one in history(use, "launch-spring", 4))
    use("slack_write_canvas", title="Launch notes", markdown=f"# Launch notes\n{lines}")


def _landing(use: Use) -> None:
    line = next(one for one in direct(use, "ada") if "flight" in one)
    at = re.findall(r"lands at ([\d:]+)", line)[0]
    use("slack_add_reminder", text=f"Ada lands at {at}", due="2026-03-18")


def _asked_all(state: State) -> bool:
    return all(sent(one, "How is it going")(state) for one in ("LIA", "GRE", "ADA"))


def _ticked(state: State) -> bool:
    return "- [x] Pricing" in state["canvases"]["Launch checklist"]


def _noted(state: State) -> bool:
    return "spring_landing" in state["canvases"].get("Launch notes", "")


TASKS: Final = (
    task("as ben asks: laptops", "do what Ben asked me to do in his dm", did(_as_ben_asks, posted("C03ENG", "Laptop orders close")), "direct message"),
    task("as ada asks: headline", "ada asked me sth in a dm about the load test page, can you do it", did(_as_ada_asks, posted("C07LAU", "70 % of target")), "page", "direct message"),
    task("as greta asks: topic", "Greta asked me to change the topic in #design. Please do.", did(_as_greta_asks, has_topic("design", "Critique moves to Thursday 10:00")), "message"),
    task("as emi says: status", "set my status to what emi suggested in random", did(_as_emi_says, i_am("status_text", "Training for the marathon")), "message"),
    task("first reminder: do", "do the first thing on my reminder list", did(_first_reminder, invitation("farid@nordlys.example", "sent")), "reminder text"),
    task("as canvas says: onboarding", "add the people from the Onboarding canvas to the channel that it says", did(_as_canvas_says, members("office-oslo", "NOO", "HUG")), "canvas"),
    task("open items: ask", "ask the owners of the open items on the launch checklist how it's going", did(_open_items, _asked_all), "canvas"),
    task("tick off: pricing", "tick off the pricing page on the launch checklist canvas", did(_tick_off, _ticked), "canvas"),
    task("notes: launch", "Write a canvas 'Launch notes' with the last 4 messages of launch-spring.", did(_notes, _noted), "message"),
    task("landing: ada", "remind me on wednesday when adas flight lands, she dm'd me the time", did(_landing, reminded("16:25", "2026-03-18")), "direct message"),
)  # fmt: skip
"""What others have written down to be done."""
