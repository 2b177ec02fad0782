"""Which probes are run against a server, and in which order.

What only looks comes first, what could upset a server last. The slow ones wait beside the others, each on a
connection of its own.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

import anyio
import httpx

from hive_a2a.call import Binding
from hive_a2a.cards.errors import CardError, CardFault
from hive_a2a.cards.reading import CardLimits, read_object
from hive_a2a.cards.resolve import bounded_get, card_url
from hive_a2a.command.probing.agent import TIMEOUT_S, ProbedAgent
from hive_a2a.command.probing.findings import (
    AttackProbe,
    ProbeFinding,
    ProbeReport,
    ProbeVerdict,
    Sight,
)
from hive_a2a.command.probing.on_callers import CALLER_PROBES
from hive_a2a.command.probing.on_card import CARD_PROBES
from hive_a2a.command.probing.on_push import PUSH_PROBES
from hive_a2a.command.probing.on_wire import LEAK_PROBE, WIRE_PROBES
from hive_a2a.errors import A2AError
from hive_a2a.origins import same_host

ALL_PROBES: Final = (*CARD_PROBES, *PUSH_PROBES, *CALLER_PROBES, *WIRE_PROBES, LEAK_PROBE)
PROBE_TIMEOUT_S: Final = 180.0
_BINDINGS: Final = {"JSONRPC": Binding.JSONRPC, "HTTP+JSON": Binding.REST}

Watch = Callable[[ProbeFinding], None]


def chosen_probes(only: Sequence[str] = (), skip: Sequence[str] = ()) -> tuple[AttackProbe, ...]:
    """Return the probes that are wanted; a word stands for each probe whose id begins with it.

    Raises:
        A2AError: a word stands for none.

    """
    for word in (*only, *skip):
        if not any(probe.id.startswith(word) for probe in ALL_PROBES):
            raise A2AError(
                f"There is no probe {word!r}.",
                why="Known: " + ", ".join(probe.id for probe in ALL_PROBES) + ".",
                fix="List them with `hive-a2a probe --list`.",
            )
    return tuple(
        probe
        for probe in ALL_PROBES
        if (not only or probe.id.startswith(tuple(only)))
        and not (skip and probe.id.startswith(tuple(skip)))
    )


async def find_agent(
    http: httpx.AsyncClient,
    url: str,
    *,
    endpoint: str = "",
    binding: str | None = None,
    token: str = "",
    other_token: str = "",
    patience_s: float = 40.0,
) -> ProbedAgent:
    """Fetch the card of a server and choose the interface to probe.

    Raises:
        A2AError: there is no card, or its interfaces are on another host than the one that was named.

    """
    place = card_url(url)
    raw = await bounded_get(http, place, CardLimits())
    card = read_object(raw, CardLimits(), "The card")
    found = _interface(card, place, endpoint, binding)
    return ProbedAgent(
        http=http,
        card_url=place,
        card=card,
        raw_card=raw,
        endpoint=endpoint or found[0],
        binding=found[1],
        tenant=found[2],
        token=token,
        other_token=other_token,
        patience_s=patience_s,
    )


def _interface(
    card: dict[str, Any], place: str, endpoint: str, binding: str | None
) -> tuple[str, Binding, str]:
    listed = card.get("supportedInterfaces")
    interfaces = (
        [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    )
    wanted = _BINDINGS.get(binding or "")
    if endpoint:
        return endpoint, wanted or Binding.JSONRPC, ""
    elsewhere = ""
    for one in interfaces:
        kind = _BINDINGS.get(str(one.get("protocolBinding", "")).upper())
        url = one.get("url")
        if kind is None or not isinstance(url, str) or wanted not in (None, kind):
            continue
        if str(one.get("protocolVersion", "1.0")).startswith("0."):
            continue
        if same_host(url, place):
            return url, kind, str(one.get("tenant", ""))
        elsewhere = url
    raise CardError(
        CardFault.ELSEWHERE if elsewhere else CardFault.MALFORMED,
        "There is no interface to probe.",
        why=f"The card leads to {urlsplit(elsewhere).netloc}, which is not the host that you named."
        if elsewhere
        else "The card names no JSON-RPC or HTTP+JSON interface of A2A 1.0.",
        fix="Name the interface with --endpoint, if its owner agrees.",
    )


async def run_probes(
    agent: ProbedAgent, probes: Sequence[AttackProbe], watch: Watch | None = None
) -> ProbeReport:
    """Run probes against a server and say what they saw, in the order of the probes."""
    await agent.prepare()
    findings: dict[str, ProbeFinding] = {}

    async def run(probe: AttackProbe) -> None:
        finding = await _run(agent, probe)
        findings[probe.id] = finding
        if watch is not None:
            watch(finding)

    async with anyio.create_task_group() as tasks:
        for probe in probes:
            if probe.slow:
                tasks.start_soon(run, probe)
        for probe in probes:
            if not probe.slow:
                await run(probe)
    return ProbeReport(
        url=agent.card_url,
        name=str(agent.card.get("name", ""))[:200],
        endpoint=agent.endpoint,
        binding=str(agent.binding),
        findings=tuple(findings[probe.id] for probe in probes),
    )


async def _run(agent: ProbedAgent, probe: AttackProbe) -> ProbeFinding:
    """Run one probe; one that breaks on what a foreign server sent says so, and ends nothing."""
    sight = Sight(ProbeVerdict.UNCLEAR, "It took too long.")
    try:
        with anyio.move_on_after(PROBE_TIMEOUT_S + agent.patience_s + TIMEOUT_S):
            sight = await probe.run(agent)
    except Exception as error:  # noqa: BLE001  whatever a hostile server made of an answer
        sight = Sight(
            ProbeVerdict.UNCLEAR, f"The answer could not be read ({type(error).__name__})."
        )
    return ProbeFinding(probe=probe, verdict=sight.verdict, saw=sight.saw)
