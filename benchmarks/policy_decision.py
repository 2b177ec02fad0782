"""What one decision of policy costs with a hundred rules about twenty tools: processor time, one thread.

Beside Hive's own engine: Cedar in process, a real OPA server where `~/.cache/hive-peers/bin/opa` is (its processor time
counts as well), and Microsoft's agent-governance toolkit in an environment of its own, with the same rules in its words.
The rules compare a target and an owner, which all of them can say; none denies the call that is asked.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import anyio
import httpx

from benchmarks.ground import free_port
from hive.core.call import Call, EffectClass, Principal, PrincipalKind, TraceContext, Verb
from hive.core.clock import SystemClock
from hive.core.ids import AgentId, CallId, OwnerId, SpanId, TraceId
from hive.core.json import Json
from hive.core.settings import Settings
from hive.security.policy import StandingPolicy, question_of
from hive.security.policy.bundle import Bundle, bundle_of, declare
from hive.security.policy.drivers import POLICIES
from hive.security.policy.question import encoded
from hive.security.policy.standing import shipped_bundle

NAME: Final = "policy_decision"
SUMMARY: Final = "Processor time of one policy decision, a hundred rules"
UNIT: Final = "us"
PEER_IS: Final = (
    "Microsoft's agent-governance toolkit 5.0.0, the same hundred rules, in the same run"
)
RULES: Final = 100
BATCHES: Final = 25
CALLS: Final = 200
AGT: Final = ("agent-governance-toolkit==4.1.0", "agent-governance-toolkit-core==5.0.0")
OPA: Final = Path.home() / ".cache" / "hive-peers" / "bin" / "opa"
AT: Final = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
CALL: Final = Call(
    id=CallId("019a0000-0000-7000-8000-000000000000"),
    principal=Principal(
        kind=PrincipalKind.AGENT,
        name="researcher",
        owner=OwnerId("alice"),
        agent=AgentId("researcher"),
    ),
    verb=Verb.INVOKE,
    target="mail.send",
    effect=EffectClass.ONCE,
    argument_hash="ab" * 32,
    at=AT,
    deadline=AT + timedelta(minutes=5),
    trace=TraceContext(trace_id=TraceId("ab" * 16), span_id=SpanId("cd" * 8)),
    facts={"server": "mail", "tool": "send", "definition": "cd" * 32, "arguments_bytes": 312},
)
ARGUMENTS: Final[Json] = {
    "to": ["bob@example.org"],
    "subject": "the numbers",
    "body": "As agreed, the numbers of the third quarter. " * 5,
    "amount": 5,
}
WARRANT: Final[dict[str, Json]] = {"id": "w" * 36, "holder": "researcher", "depth": 3, "links": 3}
PEER: Final = """
import json, statistics, sys, time, warnings
warnings.simplefilter("ignore")
from agentmesh.governance.policy import Policy, PolicyEngine, PolicyRule
order = json.loads(sys.argv[1])
rules = [PolicyRule(name=f"r{n}", condition=text, action="deny") for n, text in enumerate(order["rules"])]
engine = PolicyEngine()
engine.load_policy(Policy(name="p", agents=["*"], rules=rules, default_action="allow"))
context = order["context"]
def one():
    return engine.evaluate("did:mesh:researcher", context)
assert one().allowed, one()
found = []
for _ in range(order["batches"]):
    began = time.process_time_ns()
    for _ in range(order["calls"]):
        one()
    found.append((time.process_time_ns() - began) / order["calls"] / 1000)
print(json.dumps({"median_us": statistics.median(found), "best_us": min(found)}))
"""


def run() -> dict[str, Any]:
    """Measure; return the figures."""
    return anyio.run(_run)


async def _run() -> dict[str, Any]:
    details: dict[str, float] = {}
    whole: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        whole = await _standing(Path(folder) / "hundred", hundred(), arguments=None)
        argued = await _standing(Path(folder) / "argued", hundred(argued=True), arguments=ARGUMENTS)
        crowded = await _standing(Path(folder) / "crowded", hundred(crowded=True), arguments=None)
        shipped = await _standing(Path(folder) / "shipped", None, arguments=None)
        details["with_arguments_us"] = statistics.median(argued)
        details["all_about_this_target_us"] = statistics.median(crowded)
        details["shipped_rules_us"] = statistics.median(shipped)
        details["cedar_us"] = await _cedar()
        if OPA.exists():
            details["opa_us"] = await _opa(Path(folder) / "opa")
        peer = toolkit(Path(folder) / "toolkit")
    if peer is not None:
        details["toolkit_us"] = peer
    ordered = sorted(whole)
    return {
        "value": statistics.median(whole),
        "percentiles": {"p10": ordered[len(ordered) // 10], "p90": ordered[len(ordered) * 9 // 10]},
        "peer": peer if peer is not None else details["cedar_us"],
        "peer_is": PEER_IS if peer is not None else "Cedar in process, the same hundred rules",
        "details": details,
    }


def conditions(*, crowded: bool = False) -> list[tuple[str, str]]:
    """Return a target and an owner for each rule, none of which fits the call: five rules a tool, or all about one."""
    owners = ("bob", "carol", "dave")
    targets = ("mail.send", *(f"server{n}.tool" for n in range(1, RULES // 5)))
    return [
        ("mail.send" if crowded else targets[n % len(targets)], owners[n % 3]) for n in range(RULES)
    ]


def hundred(*, argued: bool = False, crowded: bool = False) -> Bundle:
    """Return a hundred rules in Rego and Cedar; `argued` ones look at an amount as well."""
    rego, cedar = ["package hive.rules.invoke\n"], ["permit(principal, action, resource);\n"]
    for number, (target, owner) in enumerate(conditions(crowded=crowded)):
        amount = f"\tinput.arguments.amount > {number * 10 + 5}\n" if argued else ""
        rego.append(
            f'deny contains "rule {number}" if {{\n\tinput.target == "{target}"\n'
            f'{amount}\tinput.principal.owner == "{owner}"\n}}\n'
        )
        cedar.append(
            f'@reason("rule {number}") forbid(principal, action, resource == Hive::Target::"{target}")'
            f' when {{ context.principal.owner == "{owner}" }};\n'
        )
    main = {"main.rego": shipped_bundle().files["main.rego"]}
    files = {"invoke.rego": "".join(rego).encode(), "p.cedar": "".join(cedar).encode(), **main}
    return declare(bundle_of(files), name="hundred", version=1)


async def _standing(state: Path, bundle: Bundle | None, *, arguments: Json) -> list[float]:
    """Measure a decision as the kernel asks for it, from a call to an answer."""

    async def emit(name: str, body: dict[str, Json]) -> None:
        del name, body

    settings = Settings(state_dir=str(state))
    policy = StandingPolicy(settings=settings, clock=SystemClock(), emit=emit)
    await policy.open()
    if bundle is not None:
        await policy.load(bundle.archive(), by="benchmark")

    async def one() -> bool:
        question = question_of(
            CALL, arguments=arguments, grant="ef" * 32, warrant=WARRANT, tier="process"
        )
        return (await policy.decide(question)).allow

    found = await _measured(one)
    await policy.aclose()
    return found


async def _cedar() -> float:
    driver = POLICIES.load("cedar:")("cedar:", timeout_s=10.0)
    compiled = await driver.compile(hundred())

    async def one() -> bool:
        question = encoded(question_of(CALL, grant="ef" * 32, warrant=WARRANT, tier="process"))
        answer = compiled.ask("invoke", question, CALL.target)
        assert isinstance(answer, bytes)  # noqa: S101  Cedar is in this process
        return b'"allow":true' in answer

    return statistics.median(await _measured(one))


async def _opa(folder: Path) -> float:
    """Measure a decision of a server, its own processor time added to that of asking."""
    folder.mkdir()  # noqa: ASYNC240
    for name, data in hundred().files.items():
        (folder / name).write_bytes(data)
    port = free_port()
    command = [
        str(OPA),
        "run",
        "--server",
        f"--addr=127.0.0.1:{port}",
        "--log-level=error",
        "-b",
        str(folder),
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:  # noqa: ASYNC220
        try:
            await _answers(f"http://127.0.0.1:{port}/health")
            url = f"opa:http://127.0.0.1:{port}"
            driver = POLICIES.load(url)(url, timeout_s=10.0)
            compiled = await driver.compile(shipped_bundle())

            async def one() -> bool:
                question = encoded(question_of(CALL, grant="ef" * 32, warrant=WARRANT))
                answer = compiled.ask("invoke", question, CALL.target)
                return b'"allow":true' in (answer if isinstance(answer, bytes) else await answer)

            await _measured(one)
            before = _cpu_s(server.pid)
            asking = statistics.median(await _measured(one))
            calls = (BATCHES + 1) * CALLS
            await driver.aclose()
            return asking + (_cpu_s(server.pid) - before) / calls * 1e6
        finally:
            server.kill()


async def _measured(one: Callable[[], Awaitable[bool]]) -> list[float]:
    """Return the processor time of one call, in microseconds, batch by batch."""
    found = []
    for batch in range(BATCHES + 1):
        began = time.process_time_ns()
        for _ in range(CALLS):
            if not await one():
                raise RuntimeError("the call of this benchmark was refused")
        if batch:
            found.append((time.process_time_ns() - began) / CALLS / 1000)
    return found


async def _answers(url: str) -> None:
    async with httpx.AsyncClient() as http:
        with anyio.fail_after(30):
            while True:
                try:
                    await http.get(url)
                except httpx.TransportError:
                    await anyio.sleep(0.05)
                else:
                    return


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def toolkit(folder: Path) -> float | None:
    """Measure the toolkit; None where it cannot be installed now."""
    uv = Path(sys.executable).with_name("uv")
    python = folder / "bin" / "python"
    install = [str(uv), "pip", "install", "--quiet", "--python", str(python), *AGT]
    order = {
        "rules": [f"target == '{target}' and owner == '{owner}'" for target, owner in conditions()],
        "context": {"verb": "invoke", "target": "mail.send", "owner": "alice"},
        "batches": BATCHES,
        "calls": CALLS,
    }
    try:
        subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, folder], check=True)
        subprocess.run(install, check=True, timeout=300)
        done = subprocess.run(
            [python, "-c", PEER, json.dumps(order)], check=True, capture_output=True, text=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        sys.stderr.write(f"the toolkit is left out: {error}\n")
        return None
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found["median_us"]
