"""The page's part about tools: what servers say is text, what is blocked says why and what to do."""

import re

from hive.web.page_tools import tool_sections
from hive.web.tools import LiveTools, ToolLine, ToolServerLine
from tests.unit.test_web_page import HOSTILE


def server(**more) -> ToolServerLine:
    told = {"name": "files", "transport": "stdio", "state": "ready", "place": "npm:files"}
    return ToolServerLine(**(told | more))


def tool(**more) -> ToolLine:
    told = {"name": "files.read", "server": "files", "pin": "changed", "effect": "once"}
    return ToolLine(**(told | more))


def test_everything_that_a_server_says_is_text_and_never_markup():
    page = tool_sections(
        LiveTools(
            servers=[server(reason=HOSTILE, revision=HOSTILE, version=HOSTILE, name=HOSTILE)],
            blocked=[tool(name=HOSTILE, description=HOSTILE, flags=[HOSTILE], pin=HOSTILE)],
        )
    )
    assert not set(re.findall(r"<(\w+)", page)) & {"script", "img"}
    assert "onerror=alert(1)&gt;" in page
    assert "\x1b" not in page
    assert "\u202e" not in page


def test_a_blocked_tool_says_why_and_how_it_is_allowed():
    page = tool_sections(LiveTools(servers=[server(blocked=1, tools=3)], blocked=[tool()], tools=3))
    assert "another one than the one that was approved" in page
    assert "hive tool approve files.read" in page
    assert "Tools (3)" in page


def test_a_failed_server_is_marked_and_tells_its_reason():
    page = tool_sections(LiveTools(servers=[server(state="failed", reason="it ended")], blocked=[]))
    assert 'class="state bad">failed' in page
    assert "it ended" in page
    assert "Blocked tools" not in page


def test_a_node_without_servers_says_how_to_begin():
    assert "hive tool add" in tool_sections(LiveTools(servers=[], blocked=[]))
