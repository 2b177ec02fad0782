"""Calls that wait for a person, on a whole node with a real tool server: asked, shown, told, answered, used once."""

import http.server
import json
import queue
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.cookiejar import CookieJar
from urllib.error import HTTPError
from urllib.request import HTTPCookieProcessor, Request, build_opener, urlopen

import anyio
import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from hive.testing.node_process import node_process
from hive_a2a.push.sign import (
    SeenInMemory,
    Unverified,
    VerifiedNotification,
    verify_notification,
)
from tests.end_to_end.test_mcp_kill import PATIENCE_S, Tills

WAITS = re.compile(r"waits for a person's approval \(([0-9a-f-]+)\)")
LONG_HOLD_S = "100"


class HookReceiver:
    """Somebody's own program at the other end of the webhook."""

    def __init__(self) -> None:
        self.got: queue.Queue[tuple[dict[str, str], bytes]] = queue.Queue()
        got = self.got

        class Answer(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                got.put((dict(self.headers.items()), body))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_arguments):
                """Say nothing."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/approvals?for=me"

    def about(self, approval):
        """Wait for what is told of one question."""
        ends_at = time.monotonic() + PATIENCE_S
        while True:
            headers, body = self.got.get(timeout=max(0.1, ends_at - time.monotonic()))
            if json.loads(body)["approval"] == approval:
                return headers, body


@pytest.fixture(scope="module")
def receiver():
    made = HookReceiver()
    thread = threading.Thread(target=made.server.serve_forever, daemon=True)
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()
    thread.join(10)


@pytest.fixture(scope="module")
def tills(tmp_path_factory):
    found = Tills(tmp_path_factory.mktemp("tills"))
    yield found
    found.kill()


@pytest.fixture(scope="module")
def node(tills, receiver, tmp_path_factory):
    given = {"HIVE_APPROVAL_HOLD_S": "0", "HIVE_APPROVAL_WEBHOOK": receiver.url}
    with node_process(tmp_path_factory.mktemp("node") / "state", given) as running:
        running.hive("tool", "add", "tills", "--url", tills.url, "--trusted", "--yes")
        rule(running, "charges")
        yield running


def rule(node, name, *more):
    """Make charges wait whose label begins with the rule's name."""
    when = ("--when", f"/label ~ ^{name}", "--note", "money leaves the house")
    node.hive("approve", "rules", "add", name, "tills.charge", *when, *more)


def charge(node, tills, label, **more):
    """Call the tool as a client of MCP does; return whether it failed, and what was said."""
    tills.let(label)

    async def main():
        shown = {"authorization": f"Bearer {node.token()}"}
        with anyio.fail_after(PATIENCE_S * 2):
            async with httpx2.AsyncClient(headers=shown, timeout=PATIENCE_S * 2) as http:
                transport = streamable_http_client(
                    f"{node.url}/mcp/servers/tills", http_client=http
                )
                async with Client(transport) as client:
                    result = await client.call_tool("charge", {"label": label, **more})
        return result.is_error, result.content[0].text

    return anyio.run(main)


def held(node, tills, label, **more):
    """Call, be told to wait, and return the id of the question."""
    failed, told = charge(node, tills, label, **more)
    found = WAITS.search(told)
    assert failed, told
    assert found, told
    assert tills.counts()[f"charge {label}"] == 0
    return found[1]


def waiting(node):
    lines = node.hive("approve", "--json").splitlines()
    return {one["id"]: one for one in map(json.loads, lines)}


def done(node, tills, label, **more):
    assert charge(node, tills, label, **more) == (False, f"charge {label}")
    assert tills.counts()[f"charge {label}"] == 1


def test_without_a_rule_nobody_is_asked(node, tills):
    done(node, tills, "small")


def test_a_held_call_is_shown_whole_and_a_yes_lets_it_happen_once(node, tills):
    label, reason = "charges much", "x" * 500 + " to the end"
    approval = held(node, tills, label, reason=reason)
    assert waiting(node)[approval]["state"] == "waiting"
    assert "more characters" in node.hive("approve")
    shown = node.hive("approve", "show", approval)
    assert reason in shown
    assert "invoke tills.charge" in shown
    assert "money leaves the house" in shown
    with pytest.raises(RuntimeError, match="does not show all"):
        node.hive("approve", "yes", approval)
    assert held(node, tills, label, reason=reason) == approval
    node.hive("approve", "yes", approval, "--seen", "--note", "I know them")
    assert waiting(node)[approval]["state"] == "allowed"
    done(node, tills, label, reason=reason)


def test_a_used_yes_is_not_used_again(node, tills):
    approval = held(node, tills, "charges twice")
    node.hive("approve", "yes", approval)
    done(node, tills, "charges twice")
    failed, told = charge(node, tills, "charges twice")
    assert failed
    assert WAITS.search(told)[1] != approval
    assert tills.counts()["charge charges twice"] == 1
    with pytest.raises(RuntimeError, match="waiting under"):
        node.hive("approve", "yes", approval)
    assert approval not in waiting(node)


def test_a_yes_for_one_charge_is_none_for_another(node, tills):
    node.hive("approve", "yes", held(node, tills, "charges 5"))
    held(node, tills, "charges 50")
    done(node, tills, "charges 5")


def test_a_no_is_told_with_its_note_and_stays_one(node, tills):
    approval = held(node, tills, "charges friday")
    node.hive("approve", "no", approval, "--note", "not on a Friday")
    for _ in range(2):
        failed, told = charge(node, tills, "charges friday")
        assert failed
        assert "a person said no: not on a Friday" in told
    with pytest.raises(RuntimeError, match="denied already"):
        node.hive("approve", "yes", approval)
    assert tills.counts()["charge charges friday"] == 0


def decide(opener, node, approval, headers=None):
    """Say yes over HTTP; return the status."""
    body = json.dumps({"allow": True, "reason": "over the wire"}).encode()
    request = Request(
        f"{node.url}/api/approvals/{approval}",
        data=body,
        headers={"content-type": "application/json", **(headers or {})},
    )
    try:
        with opener(request, timeout=PATIENCE_S) as answer:
            return answer.status
    except HTTPError as error:
        return error.code


def test_the_page_shows_what_waits_and_only_the_operators_token_answers_it(node, tills):
    approval = held(node, tills, "charges by page")
    browser = build_opener(HTTPCookieProcessor(CookieJar()))
    browser.open(node.hive("status", "--link").strip(), timeout=PATIENCE_S).read()

    def page():
        return browser.open(f"{node.url}/", timeout=PATIENCE_S).read().decode()

    assert f"hive approve yes {approval}" in page()
    # The page's cookie goes with every request of a browser; it must not be a yes.
    assert decide(browser.open, node, approval) == 401
    wrong = {"authorization": "Bearer " + "0" * len(node.token())}
    assert decide(urlopen, node, approval, wrong) == 401
    assert waiting(node)[approval]["state"] == "waiting"
    right = {"authorization": f"Bearer {node.token()}"}
    assert decide(urlopen, node, approval, right) == 200
    assert f"hive approve yes {approval}" not in page()
    done(node, tills, "charges by page")


def test_the_webhook_is_told_and_its_signature_holds_for_that_message_alone(node, tills, receiver):
    approval = held(node, tills, "charges by hook")
    headers, body = receiver.about(approval)
    with urlopen(f"{node.url}/.well-known/jwks.json", timeout=PATIENCE_S) as answer:
        jwks = json.loads(answer.read())
    seen = SeenInMemory()

    def verified(body, **changes):
        given = {"jwks": jwks, "url": receiver.url, "seen": seen, **changes}
        return verify_notification(headers, body, **given)

    assert isinstance(verified(body.replace(b"tills.charge", b"tills.looked")), Unverified)
    assert isinstance(verified(body, url="http://127.0.0.1/else"), Unverified)
    assert isinstance(verified(body, jwks={"keys": []}), Unverified)
    found = verified(body)
    assert isinstance(found, VerifiedNotification), found
    told = found.event
    assert (told["approval"], told["verb"], told["target"]) == (approval, "invoke", "tills.charge")
    assert told["note"] == "money leaves the house"
    assert isinstance(verified(body), Unverified), "the same message counts once"
    # What the message tells to do is what decides it.
    node.hive(*told["decide"].split()[1:])
    done(node, tills, "charges by hook")


def test_a_call_that_is_held_on_its_connection_goes_on_with_the_yes(node, tills):
    rule(node, "held", "--hold", LONG_HOLD_S)
    with ThreadPoolExecutor(1) as pool:
        calling = pool.submit(charge, node, tills, "held here")
        approval = found_waiting(node, "held here")
        assert not calling.done()
        assert tills.counts()["charge held here"] == 0
        node.hive("approve", "yes", approval)
        assert calling.result(PATIENCE_S) == (False, "charge held here")
    assert tills.counts()["charge held here"] == 1


def test_one_yes_for_two_that_wait_for_it_lets_one_of_them_go_on(node, tills):
    rule(node, "race", "--hold", LONG_HOLD_S)
    with ThreadPoolExecutor(2) as pool:
        calling = [pool.submit(charge, node, tills, "race") for _ in range(2)]
        first = found_waiting(node, "race")
        node.hive("approve", "yes", first)
        second = found_waiting(node, "race", but=first)
        node.hive("approve", "no", second)
        results = sorted(one.result(PATIENCE_S) for one in calling)
    assert results[0] == (False, "charge race")
    assert results[1][0]
    assert "a person said no" in results[1][1]
    assert tills.counts()["charge race"] == 1


def found_waiting(node, label, *, but=""):
    """Wait until a call with this label waits under another id than `but`; return its id."""
    ends_at = time.monotonic() + PATIENCE_S
    while True:
        known = waiting(node).values()
        waits = [one for one in known if one["state"] == "waiting" and one["id"] != but]
        found = [one["id"] for one in waits if label in one["arguments"]]
        if found:
            return found[0]
        assert time.monotonic() < ends_at, f"{label} never waited"


def test_a_question_that_nobody_answers_in_time_is_a_no(node, tills):
    rule(node, "brief", "--expires", "2")
    approval = held(node, tills, "brief")
    ends_at = time.monotonic() + PATIENCE_S
    while approval in waiting(node):
        assert time.monotonic() < ends_at, "the question never expired"
    with pytest.raises(RuntimeError, match="waiting under"):
        node.hive("approve", "yes", approval)
    assert held(node, tills, "brief") != approval


def test_a_kill_forgets_neither_what_waits_nor_what_was_said_nor_what_was_used(node, tills):
    open_one, allowed, refused, used = (
        held(node, tills, f"charges {word}") for word in ("open", "allowed", "refused", "used")
    )
    node.hive("approve", "yes", allowed)
    node.hive("approve", "no", refused)
    node.hive("approve", "yes", used)
    done(node, tills, "charges used")
    node.kill()
    node.start()
    states = {one: told["state"] for one, told in waiting(node).items()}
    assert states[open_one] == "waiting"
    assert states[allowed] == "allowed"
    assert states[refused] == "denied"
    assert used not in states
    assert held(node, tills, "charges open") == open_one
    node.hive("approve", "yes", open_one)
    done(node, tills, "charges open")
    done(node, tills, "charges allowed")
    assert "a person said no" in charge(node, tills, "charges refused")[1]
    failed, told = charge(node, tills, "charges used")
    assert failed
    assert WAITS.search(told)[1] not in states
    assert tills.counts()["charge charges used"] == 1
