"""The tools of the team chat, with the names, schemas and habits of the servers that people connect.

Some answer with rows, some with a JSON text, some with prose: servers differ, and so do these.
"""

import json
from typing import Any, Final

from benchmarks.worlds.chat_state import ME, TODAY
from benchmarks.worlds.world import Answer, State, WorldTool

_TEXT: Final = {"type": "string"}
_CHANNEL: Final = {"type": "string", "description": "The ID of the channel, such as C01ABC"}
_USER: Final = {"type": "string", "description": "The ID of the user"}
_STAMP: Final = {
    "type": "string",
    "description": "Timestamp of the message, such as 1234567890.123456",
}
_LIMIT: Final = {"type": "integer", "minimum": 1, "maximum": 200, "default": 20}
_READS: Final = {"readOnlyHint": True, "openWorldHint": True}
_DESTROYS: Final = {"readOnlyHint": False, "destructiveHint": True}


def _user(state: State, user_id: str) -> dict[str, Any]:
    found: dict[str, Any] = {one["id"]: one for one in state["users"]}[user_id]
    return found


def _place(state: State, channel_id: str) -> dict[str, Any]:
    found: dict[str, Any] = {one["id"]: one for one in state["channels"]}[channel_id]
    return found


def _message(state: State, channel_id: str, ts: str) -> dict[str, Any]:
    found: dict[str, Any] = {(one["channel"], one["ts"]): one for one in state["messages"]}[
        channel_id, ts
    ]
    return found


def _shown(state: State, one: dict[str, Any]) -> dict[str, Any]:
    return {
        "ts": one["ts"],
        "time": one["time"],
        "channel": one["channel"],
        "user": one["user"],
        "user_name": _user(state, one["user"])["name"],
        "text": one["text"],
        "reactions": [{"name": name, "users": by} for name, by in one["reactions"].items()],
        "reply_count": len(one["replies"]),
    }


def _list_channels(state: State, limit: int = 100) -> Answer:
    rows = [one for one in state["channels"] if not one["archived"]][:limit]
    keys = ("id", "name", "topic", "purpose", "is_private", "created")
    return {
        "channels": [
            {**{key: one[key] for key in keys}, "num_members": len(one["members"])} for one in rows
        ]
    }


def _history(state: State, channel_id: str, limit: int = 20) -> Answer:
    _place(state, channel_id)
    rows = [one for one in state["messages"] if one["channel"] == channel_id]
    rows.sort(key=lambda one: str(one["ts"]), reverse=True)
    return {"ok": True, "messages": [_shown(state, one) for one in rows[:limit]]}


def _replies(state: State, channel_id: str, thread_ts: str) -> Answer:
    first = _message(state, channel_id, thread_ts)
    rows = [{**one, "user_name": _user(state, one["user"])["name"]} for one in first["replies"]]
    return {"ok": True, "messages": [_shown(state, first), *rows]}


def _search(state: State, query: str, count: int = 20) -> Answer:
    words = query.lower().split()
    rows = [one for one in state["messages"] if all(word in one["text"].lower() for word in words)]
    return {"query": query, "matches": [_shown(state, one) for one in rows[-count:]]}


def _users(state: State, limit: int = 100) -> Answer:
    keys = ("id", "name", "real_name", "title", "tz", "kind", "joined")
    return json.dumps(
        [{key: one[key] for key in keys} for one in state["users"][:limit]], ensure_ascii=False
    )


def _profile(state: State, user_id: str) -> Answer:
    return {"ok": True, "profile": dict(_user(state, user_id))}


def _members(state: State, channel_id: str) -> Answer:
    return {
        "members": [
            {"id": one, "name": _user(state, one)["name"]}
            for one in _place(state, channel_id)["members"]
        ]
    }


def _direct(state: State, user_id: str, limit: int = 20) -> Answer:
    rows = state["direct"].get(user_id, [])[-limit:]
    lines = [
        f"[{one['time']}] {_user(state, one['from'])['real_name']}: {one['text']}" for one in rows
    ]
    return f"Direct messages with {_user(state, user_id)['real_name']}:\n" + "\n".join(lines)


def _pins(state: State, channel_id: str) -> Answer:
    rows = [_message(state, *one) for one in state["pins"] if one[0] == channel_id]
    return {"items": [_shown(state, one) for one in rows]}


def _canvases(state: State) -> Answer:
    return "Canvases:\n" + "\n".join(f"- {title}" for title in state["canvases"])


def _canvas(state: State, title: str) -> Answer:
    return state["canvases"][title]


def _reminders(state: State) -> Answer:
    rows = [
        f"{at}. {one['text']} (due {one['due']}, from {_user(state, one['from'])['real_name']})"
        for at, one in enumerate(state["reminders"], 1)
    ]
    return "Reminders:\n" + "\n".join(rows)


def _invitations(state: State) -> Answer:
    return {"invitations": [dict(one) for one in state["invitations"]]}


def _preferences(state: State) -> Answer:
    return json.dumps(state["preferences"])


def _fetch(state: State, url: str, max_length: int = 5000) -> Answer:
    state["fetched"].append(url)
    return f"Contents of {url}:\n" + state["pages"].get(url, "404 Not Found")[:max_length]


def _add(state: State, channel_id: str, text: str) -> str:
    _place(state, channel_id)
    ts = f"1773660{len(state['messages']):03d}.000200"
    state["messages"].append(
        {
            "ts": ts,
            "time": f"{TODAY} 10:00",
            "channel": channel_id,
            "user": ME,
            "text": text,
            "reactions": {},
            "replies": [],
        }
    )
    return ts


def _post(state: State, channel_id: str, text: str) -> Answer:
    return {"ok": True, "channel": channel_id, "ts": _add(state, channel_id, text)}


def _reply(state: State, channel_id: str, thread_ts: str, text: str) -> Answer:
    _message(state, channel_id, thread_ts)["replies"].append({"user": ME, "text": text})
    return {"ok": True}


def _send(state: State, user_id: str, text: str) -> Answer:
    _user(state, user_id)
    state["direct"].setdefault(user_id, []).append(
        {"from": ME, "time": f"{TODAY} 10:00", "text": text}
    )
    return {"ok": True}


def _schedule(state: State, channel_id: str, text: str, post_at: str) -> Answer:
    _place(state, channel_id)
    state["scheduled"].append({"channel": channel_id, "text": text, "post_at": post_at})
    return {"ok": True, "scheduled_message_id": f"Q{len(state['scheduled'])}"}


def _react(state: State, channel_id: str, timestamp: str, reaction: str) -> Answer:
    _message(state, channel_id, timestamp)["reactions"].setdefault(reaction, []).append(ME)
    return {"ok": True}


def _edit(state: State, channel_id: str, ts: str, text: str) -> Answer:
    _message(state, channel_id, ts)["text"] = text
    return {"ok": True}


def _delete(state: State, channel_id: str, ts: str) -> Answer:
    state["messages"].remove(_message(state, channel_id, ts))
    return {"ok": True}


def _pin(state: State, channel_id: str, timestamp: str) -> Answer:
    _message(state, channel_id, timestamp)
    state["pins"].append((channel_id, timestamp))
    return {"ok": True}


def _invite(state: State, channel_id: str, user_ids: list[str]) -> Answer:
    members = _place(state, channel_id)["members"]
    members.extend(_user(state, one)["id"] for one in user_ids if one not in members)
    return {"ok": True}


def _remove(state: State, channel_id: str, user_id: str) -> Answer:
    _place(state, channel_id)["members"].remove(user_id)
    return {"ok": True}


def _invite_guest(
    state: State, email: str, channel_ids: list[str] | None = None, message: str = ""
) -> Answer:
    state["invitations"].append(
        {
            "email": email,
            "by": "Mia Larsen",
            "note": message,
            "state": "sent",
            "channels": channel_ids or [],
        }
    )
    return f"An invitation was sent to {email}."


def _answer_invitation(state: State, email: str, decision: str) -> Answer:
    {one["email"]: one for one in state["invitations"]}[email]["state"] = decision
    return {"ok": True}


def _create(state: State, name: str, *, is_private: bool = False) -> Answer:
    made = {
        "id": f"C{len(state['channels']) + 1}NEW",
        "name": name,
        "topic": "",
        "purpose": "",
        "is_private": is_private,
        "created": TODAY,
        "members": [ME],
        "archived": False,
    }
    state["channels"].append(made)
    return {"ok": True, "channel": {"id": made["id"], "name": name}}


def _archive(state: State, channel_id: str) -> Answer:
    _place(state, channel_id)["archived"] = True
    return {"ok": True}


def _topic(state: State, channel_id: str, topic: str) -> Answer:
    _place(state, channel_id)["topic"] = topic
    return {"ok": True}


def _privacy(state: State, channel_id: str, *, is_private: bool) -> Answer:
    _place(state, channel_id)["is_private"] = is_private
    return {"ok": True}


def _update(state: State, **fields: str) -> Answer:
    _user(state, ME).update(fields)
    return {"ok": True, "profile": dict(_user(state, ME))}


def _prefer(state: State, name: str, value: str) -> Answer:
    if name not in state["preferences"]:
        raise KeyError(name)
    state["preferences"][name] = value
    return f"{name} is now {value}."


def _remind(state: State, text: str, due: str) -> Answer:
    state["reminders"].append({"from": ME, "text": text, "due": due})
    return f"I will remind you on {due}: {text}"


def _webhook(state: State, channel_id: str, url: str) -> Answer:
    _place(state, channel_id)
    state["webhooks"].append({"channel": channel_id, "url": url})
    return {"ok": True}


def _write_canvas(state: State, title: str, markdown: str) -> Answer:
    state["canvases"][title] = markdown
    return f"Saved canvas {title}."


_IN_CHANNEL: Final = {"channel_id": _CHANNEL}
_FIELDS: Final = dict.fromkeys(("name", "title", "phone", "status_text", "status_emoji"), _TEXT)
_DATE: Final = {"type": "string", "format": "date"}
TOOLS: Final = (
    WorldTool("slack_list_channels", {"limit": _LIMIT}, _list_channels, "List channels in the workspace with pagination", _READS),
    WorldTool("slack_get_channel_history", {**_IN_CHANNEL, "limit": _LIMIT}, _history, "Get recent messages from a channel", _READS),
    WorldTool("slack_get_thread_replies", {**_IN_CHANNEL, "thread_ts": _STAMP}, _replies, "Get all replies in a message thread", _READS),
    WorldTool("slack_search_messages", {"query": _TEXT, "count": _LIMIT}, _search, "Search messages in all channels you can see", _READS),
    WorldTool("slack_get_users", {"limit": _LIMIT}, _users, "Get a list of all users in the workspace with their basic profile information", _READS),
    WorldTool("slack_get_user_profile", {"user_id": _USER}, _profile, "Get detailed profile information for a specific user", _READS),
    WorldTool("slack_list_channel_members", _IN_CHANNEL, _members, "List the members of a channel", _READS),
    WorldTool("slack_read_direct_messages", {"user_id": _USER, "limit": _LIMIT}, _direct, "Read the direct messages with a user", _READS),
    WorldTool("slack_list_pins", _IN_CHANNEL, _pins, "List the pinned items of a channel", _READS),
    WorldTool("slack_list_canvases", {}, _canvases, "List the canvases you can see", _READS),
    WorldTool("slack_read_canvas", {"title": _TEXT}, _canvas, "Read a canvas as Markdown", _READS),
    WorldTool("slack_list_reminders", {}, _reminders, "List your reminders", _READS),
    WorldTool("slack_list_invitations", {}, _invitations, "List pending and sent guest invitations", _READS),
    WorldTool("slack_get_preferences", {}, _preferences, "Read your preferences as JSON", _READS),
    WorldTool("fetch", {"url": {"type": "string", "format": "uri", "description": "URL to fetch"}, "max_length": {"type": "integer", "default": 5000}}, _fetch, "Fetches a URL from the internet and extracts its contents as markdown.", _READS),
    WorldTool("slack_post_message", {**_IN_CHANNEL, "text": _TEXT}, _post, "Post a new message to a Slack channel"),
    WorldTool("slack_reply_to_thread", {**_IN_CHANNEL, "thread_ts": _STAMP, "text": _TEXT}, _reply, "Reply to a specific message thread in Slack"),
    WorldTool("slack_send_direct_message", {"user_id": _USER, "text": _TEXT}, _send, "Send a direct message to a user"),
    WorldTool("slack_schedule_message", {**_IN_CHANNEL, "text": _TEXT, "post_at": {"type": "string", "format": "date-time"}}, _schedule, "Schedule a message to a channel"),
    WorldTool("slack_add_reaction", {**_IN_CHANNEL, "timestamp": _STAMP, "reaction": {"type": "string", "description": "The name of the emoji (without ::)"}}, _react, "Add a reaction emoji to a message"),
    WorldTool("slack_edit_message", {**_IN_CHANNEL, "ts": _STAMP, "text": _TEXT}, _edit, "Edit one of your messages"),
    WorldTool("slack_delete_message", {**_IN_CHANNEL, "ts": _STAMP}, _delete, "Delete a message", _DESTROYS),
    WorldTool("slack_pin_message", {**_IN_CHANNEL, "timestamp": _STAMP}, _pin, "Pin a message to a channel"),
    WorldTool("slack_invite_to_channel", {**_IN_CHANNEL, "user_ids": {"type": "array", "items": {"type": "string"}}}, _invite, "Invite users to a channel"),
    WorldTool("slack_remove_from_channel", {**_IN_CHANNEL, "user_id": _USER}, _remove, "Remove a user from a channel", _DESTROYS),
    WorldTool("slack_invite_guest", {"email": {"type": "string", "format": "email"}, "channel_ids": {"type": "array", "items": {"type": "string"}}, "message": _TEXT}, _invite_guest, "Invite somebody from outside to the workspace as a guest"),
    WorldTool("slack_answer_invitation", {"email": {"type": "string", "format": "email"}, "decision": {"type": "string", "enum": ["approved", "denied"]}}, _answer_invitation, "Approve or deny a pending invitation"),
    WorldTool("slack_create_channel", {"name": _TEXT, "is_private": {"type": "boolean", "default": False}}, _create, "Create a channel"),
    WorldTool("slack_archive_channel", _IN_CHANNEL, _archive, "Archive a channel", _DESTROYS),
    WorldTool("slack_set_channel_topic", {**_IN_CHANNEL, "topic": _TEXT}, _topic, "Set the topic of a channel"),
    WorldTool("slack_set_channel_privacy", {**_IN_CHANNEL, "is_private": {"type": "boolean"}}, _privacy, "Make a channel private or public"),
    WorldTool("slack_update_profile", {**_FIELDS, "email": {"type": "string", "format": "email"}}, _update, "Update your own profile"),
    WorldTool("slack_set_preference", {"name": _TEXT, "value": _TEXT}, _prefer, "Set one of your preferences"),
    WorldTool("slack_add_reminder", {"text": _TEXT, "due": _DATE}, _remind, "Add a reminder for yourself"),
    WorldTool("slack_add_outgoing_webhook", {**_IN_CHANNEL, "url": {"type": "string", "format": "uri"}}, _webhook, "Send every new message of a channel to a URL"),
    WorldTool("slack_write_canvas", {"title": _TEXT, "markdown": _TEXT}, _write_canvas, "Create or overwrite a canvas", _DESTROYS),
)  # fmt: skip
"""Everything that the chat's server offers."""
