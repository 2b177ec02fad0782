"""`hive-a2a probe`: what it says of the plain official server, of odd servers, and how it says it."""

import gzip
import hashlib
import json
import socket
from contextlib import contextmanager
from pathlib import Path

import jsonschema_rs
import pytest
from anyio.from_thread import start_blocking_portal

from hive_a2a.cards.describe import card_json
from hive_a2a.cards.sign import SigningKey, sign_card
from hive_a2a.command.entry import run_command
from hive_a2a.command.probing.findings import (
    AttackProbe,
    ProbeFinding,
    ProbeVerdict,
    Severity,
    grade_of,
)
from hive_a2a.command.probing.on_card import _hosts, _is_inner
from hive_a2a.command.probing.order import ALL_PROBES
from hive_a2a.identity.api_key import StaticBearer
from hive_a2a.policy import Policy, WireLimits
from hive_a2a.server import SecureA2AServer
from tests.unit.sdk_foreign_agents import (
    EchoExecutor,
    ScriptedAgent,
    error,
    official_app,
    plain_card,
    result,
    served,
)

SCHEMA = Path(__file__).parents[1] / "vectors" / "sarif" / "sarif-2.1.0-rtm.5.json.gz"
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # of the official server's own client
]


def probed(capsys, url, *more):
    code = run_command(["probe", url, "--json", "--patience", "1", *more])
    out, err = capsys.readouterr()
    assert out, err
    report = json.loads(out)
    return code, report, {one["id"]: one for one in report["findings"]}


def published_schema():
    with gzip.open(SCHEMA) as file:
        schema = json.load(file)
    # A pattern of the published file has a bracket too many, which strict readers of patterns refuse.
    for name in ("run", "toolComponent"):
        schema["definitions"][name]["properties"]["language"].pop("pattern")
    return jsonschema_rs.Draft4Validator(schema)


KNOWN = {
    "card-unsigned",
    "card-required-extension",
    "push-metadata",
    "push-private",
    "push-scheme",
    "caller-foreign-get",
    "caller-foreign-list",
    "caller-foreign-cancel",
    "wire-large-body",
    "wire-deep-body",
    "wire-content-type",
    "wire-duplicate-keys",
    "wire-slow-head",
    "wire-slow-body",
}


@pytest.mark.parametrize("binding", ["JSONRPC", "HTTP+JSON"])
def test_the_plain_official_server_fails_what_it_is_known_to_fail(capsys, binding, tmp_path):
    sarif = tmp_path / "probe.sarif"
    with served(lambda url: official_app(url, binding=binding)) as url:
        code, report, found = probed(capsys, url, "--sarif", str(sarif))
    failed = {name for name, one in found.items() if one["verdict"] == "fails"}
    # Of HTTP+JSON the body is read by protobuf, which bounds depth and refuses a member that is named twice.
    assert failed >= KNOWN - (
        {"wire-deep-body", "wire-duplicate-keys"} if binding == "HTTP+JSON" else set()
    )
    assert code == 1
    assert report["grade"] == "F"
    assert report["binding"] == binding
    assert found["wire-unknown-version"]["verdict"] == "withstands"
    assert len(found) == len(ALL_PROBES)
    assert all(one["sent"] and one["saw"] and one["clause"] for one in found.values())
    log = json.loads(sarif.read_text())
    schema = published_schema()
    schema.validate(log)
    [run] = log["runs"]
    assert {one["ruleId"] for one in run["results"] if one["kind"] == "fail"} == failed
    assert not schema.is_valid({**log, "version": 7})
    for one in run["results"]:
        assert run["tool"]["driver"]["rules"][one["ruleIndex"]]["id"] == one["ruleId"]
        assert (one["level"] == "none") == (one["kind"] != "fail")


def test_only_named_probes_are_run_and_others_are_skipped(capsys):
    with served(lambda url: official_app(url, required=False)) as url:
        _, _, found = probed(capsys, url, "--only", "card", "--skip", "card-altered")
        assert set(found) == {
            one.id for one in ALL_PROBES if one.id.startswith("card-") and one.id != "card-altered"
        }
        assert found["card-required-extension"]["verdict"] == "not applicable"
        assert run_command(["probe", url, "--only", "card-tells"]) == 0
        out = capsys.readouterr().out
        assert out.startswith("grade A")
        assert run_command(["probe", url, "--only", "card-unsigned"]) == 1
        assert "Fix: Sign the card" in capsys.readouterr().out
        assert run_command(["probe", url, "--only", "card-unsigned", "--sarif", "-", "-q"]) == 1
        assert json.loads(capsys.readouterr().out)["version"] == "2.1.0"


def test_what_would_be_sent_is_told_before_anything_is_sent(capsys):
    assert run_command(["probe", "--list"]) == 0
    assert "sends" in capsys.readouterr().out
    assert run_command(["probe", "--list", "--json", "--only", "push"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["id"] for one in lines] == ["push-metadata", "push-private", "push-scheme"]


def test_a_wrong_use_is_told(capsys):
    assert run_command(["probe"]) == 2
    assert run_command(["probe", "--list", "--only", "nonsense"]) == 1
    assert "Known:" in capsys.readouterr().err
    assert run_command(["probe", "http://127.0.0.1:9"]) == 1
    assert "cannot be fetched" in capsys.readouterr().err


def card_of(url, **more):
    card = json.loads(card_json(plain_card(url, required=False)))
    return {**card, **more}


def scripted(answer=None, **more):
    return lambda url: ScriptedAgent(card_of(url, **more), answer)


def test_an_interface_on_another_host_is_not_probed_unless_it_is_named(capsys):
    elsewhere = [{"url": "https://other.example/", "protocolBinding": "JSONRPC"}]
    with served(scripted(supportedInterfaces=elsewhere)) as url:
        assert run_command(["probe", url, "--only", "card"]) == 1
        assert "not the host that you named" in capsys.readouterr().err
        _, report, _ = probed(capsys, url, "--only", "card", "--endpoint", url)
        assert report["endpoint"] == url
    with served(scripted(supportedInterfaces=[{"url": 1}, {"protocolBinding": "GRPC"}])) as url:
        assert run_command(["probe", url]) == 1
        assert "names no JSON-RPC" in capsys.readouterr().err


def test_a_signed_card_withstands_and_an_altered_one_fails(capsys):
    key = SigningKey.make()

    def signed(url):
        return card_json(sign_card(plain_card(url, required=False), key))

    with served(lambda url: ScriptedAgent(signed(url))) as url:
        code, report, found = probed(capsys, url, "--only", "card")
        assert found["card-unsigned"]["verdict"] == "withstands"
        assert found["card-altered"]["verdict"] == "withstands"
        assert found["card-foreign-key-set"]["verdict"] == "withstands"
        assert (code, report["grade"]) == (0, "A")
    with served(lambda url: ScriptedAgent(signed(url).replace(b"Echoes.", b"Steals."))) as url:
        code, report, found = probed(capsys, url, "--only", "card")
        assert found["card-altered"]["verdict"] == "fails"
        assert (code, report["grade"]) == (1, "F")


def test_a_card_that_sends_its_verifier_elsewhere_for_the_key_fails(capsys):
    key = SigningKey.make()

    def signed(url):
        card = sign_card(plain_card(url, required=False), key, jku="https://thief.example/keys")
        return ScriptedAgent(card_json(card))

    with served(signed) as url:
        _, _, found = probed(capsys, url, "--only", "card-foreign")
    assert found["card-foreign-key-set"]["verdict"] == "fails"


@pytest.mark.parametrize(
    "secret",
    [
        {"description": "-----BEGIN PRIVATE KEY-----"},
        {"x": "sk-" + "a" * 30},
        {"x": {"password": "hunter2"}},
        {"x": "AKIA" + "A" * 16},
    ],
)
def test_a_card_with_a_secret_fails_and_the_report_does_not_repeat_it(capsys, secret):
    with served(scripted(**secret)) as url:
        _, _, found = probed(capsys, url, "--only", "card-tells")
    assert found["card-tells-secrets"]["verdict"] == "fails"
    assert "hunter2" not in found["card-tells-secrets"]["saw"]
    assert "a" * 30 not in found["card-tells-secrets"]["saw"]


def test_a_card_that_leads_away_from_tls_fails(capsys):
    more = [{"url": "http://plain.example/", "protocolBinding": "HTTP+JSON"}]

    def make(url):
        card = card_of(url)
        card["supportedInterfaces"] += more
        return ScriptedAgent(card)

    with served(make) as url:
        _, _, found = probed(capsys, url, "--only", "card-plain")
    assert found["card-plain-interface"]["verdict"] == "fails"


def by_method(**answers):
    """Answer by method; who shows no token is a stranger, and `stranger` answers him."""

    def answer(head, body):
        try:
            method = json.loads(body)["method"]
        except (ValueError, KeyError, TypeError):
            return 200, {}, error(-32700)
        if "authorization" not in head and "stranger" in answers:
            return answers["stranger"]
        found = answers.get(method, error(-32001))
        return found if isinstance(found, tuple) else (200, {}, found)

    return answer


TASK = result({"task": {"id": "t-1", "contextId": "c", "status": {"state": "TASK_STATE_WORKING"}}})
OWN = {"SendMessage": TASK, "GetTask": result({"id": "t-1"})}


def test_a_server_that_shows_strangers_nothing_withstands(capsys):
    refused = (401, {"www-authenticate": "Bearer"}, b"")
    answer = by_method(**OWN, stranger=refused)
    security = {"securityRequirements": [{"schemes": {"bearer": {}}}]}
    with served(scripted(answer, **security)) as url:
        _, report, found = probed(capsys, url, "--only", "caller", "--token", "own")
        assert found["caller-scheme-not-enforced"]["verdict"] == "withstands"
        assert found["caller-foreign-get"]["verdict"] == "withstands"
        assert found["caller-foreign-list"]["verdict"] == "withstands"
        assert found["caller-foreign-cancel"]["verdict"] == "withstands"
        assert found["caller-tenant"]["verdict"] == "not applicable"
        assert report["grade"] == "A"
        _, _, found = probed(capsys, url, "--only", "wire-large", "--only", "wire-content")
        assert {one["verdict"] for one in found.values()} == {"unclear"}, "nobody gets that far"


@pytest.mark.parametrize("binding", ["JSONRPC", "HTTP+JSON"])
@pytest.mark.parametrize("mixed", [True, False])
def test_a_server_that_mixes_its_tenants_up_fails(capsys, binding, mixed):
    def answer(head, body):
        if b"SendMessage" in body or b"hive-probe-1" in body:
            return 200, {}, TASK if binding == "JSONRPC" else b'{"task":{"id":"t-1"}}'
        own = b"mine" in body or "/mine/" in head["path"] or mixed
        return 200 if own else 404, {}, result({"id": "t-1"}) if own else error(-32001)

    def make(url):
        one = {"url": url, "protocolBinding": binding, "protocolVersion": "1.0", "tenant": "mine"}
        return ScriptedAgent(card_of(url, supportedInterfaces=[one]), answer)

    with served(make) as url:
        _, _, found = probed(capsys, url, "--only", "caller-tenant")
    assert found["caller-tenant"]["verdict"] == ("fails" if mixed else "withstands")


def test_a_server_that_lets_another_known_caller_in_fails(capsys):
    listed = result({"tasks": [{"id": "t-1"}]})
    answer = by_method(
        **OWN,
        ListTasks=listed,
        CancelTask=result({"id": "t-1"}),
        SubscribeToTask=(
            200,
            {"content-type": "text/event-stream"},
            b'data: {"jsonrpc":"2.0","result":{"task":{"id":"t-1"}}}\n\n',
        ),
        ListTaskPushNotificationConfigs=result({"configs": [{"id": "x"}]}),
        GetExtendedAgentCard=result({"name": "more"}),
        stranger=(401, {}, b""),
    )
    with served(
        scripted(answer, capabilities={"streaming": True, "pushNotifications": True})
    ) as url:
        tokens = ("--token", "own", "--other-token", "other")
        _, report, found = probed(capsys, url, "--only", "caller", *tokens)
    for name in ("get", "list", "cancel", "subscribe", "webhooks"):
        assert found[f"caller-foreign-{name}"]["verdict"] == "fails", name
    assert report["grade"] == "F"


def test_a_declared_scheme_that_is_not_enforced_and_an_open_extended_card_fail(capsys):
    answer = by_method(**OWN, GetExtendedAgentCard=result({"name": "more"}))
    more = {"security": [{"bearer": []}], "capabilities": {"extendedAgentCard": True}}
    with served(scripted(answer, **more)) as url:
        _, _, found = probed(capsys, url, "--only", "caller")
    assert found["caller-scheme-not-enforced"]["verdict"] == "fails"
    assert found["caller-extended-card"]["verdict"] == "fails"


def test_a_webhook_that_is_accepted_is_removed_at_once(capsys):
    agent = {}

    def make(url):
        answer = by_method(**OWN, CreateTaskPushNotificationConfig=result({"id": "x"}))
        agent["it"] = ScriptedAgent(card_of(url), answer)
        return agent["it"]

    with served(make) as url:
        _, _, found = probed(capsys, url, "--only", "push-metadata")
    assert found["push-metadata"]["verdict"] == "fails"
    methods = [json.loads(body)["method"] for _, _, _, body in agent["it"].calls]
    made = methods.count("CreateTaskPushNotificationConfig")
    assert made == methods.count("DeleteTaskPushNotificationConfig") == 4


@pytest.mark.parametrize(
    ("answers", "verdict"),
    [
        ({"CreateTaskPushNotificationConfig": error(-32602), **OWN}, "withstands"),
        ({"CreateTaskPushNotificationConfig": error(-32003), **OWN}, "not applicable"),
        ({"CreateTaskPushNotificationConfig": (401, {}, b""), **OWN}, "unclear"),
        ({}, "unclear"),
    ],
)
def test_webhooks_are_judged_by_the_answer(capsys, answers, verdict):
    with served(scripted(by_method(**answers))) as url:
        _, _, found = probed(capsys, url, "--only", "push-private")
    assert found["push-private"]["verdict"] == verdict


@pytest.mark.parametrize(
    "text",
    [
        'Traceback (most recent call last):\\n  File \\"/x/y.py\\", line 3',
        "psycopg.errors.UndefinedTable",
        "at com.example.Agent.run(Agent.java:12)",
        "see /usr/lib/agent/server.py",
    ],
)
def test_an_error_that_tells_internals_fails(capsys, text):
    body = error(-32603).replace(b'"no"', f'"{text}"'.encode())
    with served(scripted(lambda head, sent: (200, {}, body))) as url:
        _, _, found = probed(capsys, url, "--only", "wire-leaking")
    assert found["wire-leaking-errors"]["verdict"] == "fails"


@pytest.mark.parametrize(
    ("head", "verdict"),
    [
        (
            {
                "access-control-allow-origin": "https://hive-probe.example",
                "access-control-allow-credentials": "true",
            },
            "fails",
        ),
        ({"access-control-allow-origin": "*"}, "withstands"),
    ],
)
def test_open_doors_for_web_pages_are_seen(capsys, head, verdict):
    with served(scripted(lambda *_: (200, head, error(-32001)))) as url:
        _, _, found = probed(capsys, url, "--only", "wire-any")
    assert found["wire-any-origin"]["verdict"] == verdict


@pytest.mark.parametrize(
    "reply",
    [
        (200, {}, b"\xff" * 3_000_000),
        (200, {}, b"[" * 200_000),
        (200, {}, b"null"),
        (200, {}, b'{"jsonrpc":"2.0","error":7}'),
        (200, {}, b'{"jsonrpc":"2.0","error":{"code":"x","data":[1,{"reason":[]}]}}'),
        (500, {}, b""),
        (200, {"content-type": "text/event-stream"}, b"data: {\n\n"),
        (302, {"location": "http://127.0.0.1:9/"}, b""),
        (200, {"content-encoding": "gzip"}, b"not gzip"),
    ],
)
def test_a_server_that_answers_nonsense_breaks_no_probe(capsys, reply):
    extended = {"streaming": True, "pushNotifications": True, "extendedAgentCard": True}
    with served(scripted(lambda *_: reply, capabilities=extended)) as url:
        _, report, found = probed(capsys, url, "--skip", "wire-large", "--skip", "wire-packed")
    assert len(found) == len(ALL_PROBES) - 2
    assert report["grade"] != "A"


def finding(severity, verdict):
    async def run(agent):
        raise NotImplementedError

    probe = AttackProbe(
        id="x", title="x", severity=severity, clause="1", sends="x", fix="x", run=run
    )
    return ProbeFinding(probe=probe, verdict=verdict, saw="x")


@pytest.mark.parametrize(
    ("through", "grade"),
    [
        ([], "A"),
        ([Severity.LOW], "B"),
        ([Severity.LOW, Severity.MEDIUM], "C"),
        ([Severity.HIGH, Severity.MEDIUM], "D"),
        ([Severity.HIGH, Severity.HIGH], "E"),
        ([Severity.CRITICAL], "F"),
    ],
)
def test_the_grade_follows_the_worst_that_got_through(through, grade):
    good = finding(Severity.CRITICAL, ProbeVerdict.WITHSTANDS)
    assert grade_of([good, *(finding(one, ProbeVerdict.FAILS) for one in through)]) == grade


@pytest.mark.parametrize(
    "host", ["10.0.0.1", "agent.internal", "db.svc", "localhost", "fd00::1", "192.168.1.1"]
)
def test_inner_hosts_are_told_from_public_ones(host):
    assert _is_inner(host)
    assert not _is_inner("agent.example.com")
    assert not _is_inner("93.184.216.34")
    bracketed = f"[{host}]" if ":" in host else host
    card = {"a": [{"b": f"https://{bracketed}/x"}, "no url", "https://[bad"], "c": 7}
    assert list(_hosts(card)) == [host]


def test_little_that_was_seen_is_no_grade():
    assert grade_of([]) == "?"
    unseen = finding(Severity.LOW, ProbeVerdict.UNCLEAR)
    good = finding(Severity.LOW, ProbeVerdict.WITHSTANDS)
    assert grade_of([good, unseen]) == "?"


def words(*known):
    return StaticBearer({word: hashlib.sha256(word.encode()).hexdigest() for word in known})


@contextmanager
def guarded(folder, *authenticators, policy=None):
    """Serve the same executor behind every stage."""
    with start_blocking_portal(backend_options={"use_uvloop": True}) as portal:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        url = f"http://127.0.0.1:{port}"
        card = plain_card(url, required=False)
        card.supported_interfaces.add(url=url, protocol_binding="HTTP+JSON", protocol_version="1.0")

        async def make():
            return SecureA2AServer(
                card,
                EchoExecutor(),
                policy=policy or Policy(limits=WireLimits(head_timeout_s=0.5, body_timeout_s=0.5)),
                folder=folder,
                authenticators=authenticators,
            )

        server = portal.call(make)
        with portal.wrap_async_context_manager(server.serving(port=port)):
            yield url


@pytest.mark.parametrize("binding", ["JSONRPC", "HTTP+JSON"])
def test_the_same_agent_behind_every_stage_withstands_them_all(capsys, tmp_path, binding):
    with guarded(tmp_path / "server", words("own", "other")) as url:
        tokens = ("--token", "own", "--other-token", "other")
        code, report, found = probed(capsys, url, "--binding", binding, *tokens, "--patience", "5")
    through = {name: one["saw"] for name, one in found.items() if one["verdict"] == "fails"}
    assert through == {}
    unclear = {name for name, one in found.items() if one["verdict"] == "unclear"}
    assert unclear <= {"caller-foreign-subscribe"}, {name: found[name]["saw"] for name in unclear}
    assert (code, report["grade"]) == (0, "A")
    assert report["counts"]["withstands"] >= 22


def test_without_a_token_a_guarded_agent_shows_too_little_for_a_grade(capsys, tmp_path):
    with guarded(tmp_path / "server", words("own", "other")) as url:
        code, report, found = probed(capsys, url, "--skip", "card", "--skip", "wire-slow")
    assert code == 0
    assert report["grade"] == "?"
    assert found["caller-foreign-list"]["verdict"] == "withstands"


def test_an_agent_that_answers_sealed_requests_only_lets_nothing_else_through(capsys, tmp_path):
    with guarded(tmp_path / "server") as url:
        code, _, found = probed(capsys, url, "--skip", "wire-slow")
    assert code == 0
    assert found["card-required-extension"]["verdict"] == "withstands"
    assert found["wire-large-body"]["verdict"] == "withstands"
