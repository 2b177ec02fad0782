"""What a warrant costs, in processor time of one thread: at each call of an agent, when it is made, when it comes in.

The chain has three links, each with a condition on the path that is read: what a task of a task of a task has.
"""

import statistics
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

from hive.core.allow_rules import AllowRule
from hive.core.call import Refused, Verb
from hive.core.clock import SystemClock
from hive.core.grant import Grant, HostRule
from hive.core.ids import AgentId, TaskId
from hive.core.json import Json
from hive.security.capability import (
    EVERYTHING,
    MintOrder,
    TaskOrder,
    Warrant,
    Warrants,
    objection,
    terms_of,
    warrant_for_task,
)
from hive.security.capability.drivers import WARRANTS
from hive.security.capability.ports import WarrantOpening
from hive_a2a.crypto import new_signing_pair

NAME: Final = "warrant_check"
SUMMARY: Final = "Processor time of one call held to a warrant of depth three"
UNIT: Final = "us"
BATCHES: Final = 25
CALLS: Final = 400
FOLDERS: Final = ("/data", "/data/x", "/data/x/y")


def run() -> dict[str, Any]:
    """Measure."""
    clock = SystemClock()
    now = clock.now()
    warrant = _of_depth_three()
    arguments: Json = {"path": "/data/x/y/reports/2026/q3.txt", "head": 5}
    hot = _measured(lambda: objection(warrant, Verb.INVOKE, "fs.read", arguments, now), CALLS)
    engine = _engine(clock)
    token = _chain(engine)
    order = MintOrder(terms=(terms_of(_grant("/data")),), holder=b"h" * 32, ttl_s=600)
    return {
        "value": statistics.median(hot),
        "percentiles": {"p50": statistics.median(hot), "p90": sorted(hot)[int(BATCHES * 0.9)]},
        "details": {
            "tool_with_conditions_us": statistics.median(hot),
            "tool_without_conditions_us": _median(
                lambda: objection(warrant, Verb.INVOKE, "mail.send", {"to": "x"}, now)
            ),
            "model_us": _median(lambda: objection(warrant, Verb.ASK, "gpt", None, now)),
            "host_us": _median(
                lambda: objection(warrant, Verb.REACH, "api.example.org:443", {}, now)
            ),
            "refusal_us": _median(
                lambda: objection(warrant, Verb.INVOKE, "fs.read", {"path": "/etc/x"}, now)
            ),
            "warrant_of_a_task_us": _median(_of_depth_three, 100),
            "mint_token_us": _median(lambda: engine.mint(order), 100),
            "verify_chain_of_three_us": _median(lambda: engine.verify(token), 50),
            "token_bytes": len(token),
        },
    }


def _median(one: Callable[[], object], calls: int = CALLS) -> float:
    return statistics.median(_measured(one, calls))


def _measured(one: Callable[[], object], calls: int) -> list[float]:
    found = []
    one()
    for _ in range(BATCHES):
        began = time.process_time_ns()
        for _ in range(calls):
            one()
        found.append((time.process_time_ns() - began) / calls / 1000)
    return found


def _grant(folder: str) -> Grant:
    conditions = (("path", f"under:{folder}"), ("head?", "range:0..100"))
    return Grant(
        tools=("fs.*", "mail.send"),
        models=("*",),
        agents=("*",),
        hosts=(HostRule(host="api.example.org"),),
        rules=(AllowRule(kind="tool", name="fs.read", arguments=conditions),),
    )


def _of_depth_three() -> Warrant:
    now = SystemClock().now()
    above: Warrant | None = None
    for number, folder in enumerate(FOLDERS):
        order = TaskOrder(
            id=f"w{number}",
            task=TaskId(f"t{number}"),
            agent=AgentId(f"a{number}"),
            at=now,
            deadline=now + timedelta(days=1),
        )
        made = warrant_for_task(_grant(folder), above, EVERYTHING, order)
        if isinstance(made, Refused):
            raise TypeError(made.reason)
        above = made
    if above is None:
        raise TypeError("no link")
    return above


def _engine(clock: SystemClock) -> Warrants:
    opening = WarrantOpening(url="tenuo:", root=b"r" * 32, clock=clock)
    return WARRANTS.load("tenuo:").open(opening)


def _chain(engine: Warrants) -> str:
    holders = [new_signing_pair() for _ in FOLDERS]
    orders = [
        MintOrder(terms=(terms_of(_grant(folder)),), holder=holder.public, ttl_s=600)
        for folder, holder in zip(FOLDERS, holders, strict=True)
    ]
    token = engine.mint(orders[0])
    for order, before in zip(orders[1:], holders, strict=False):
        token = engine.attenuate(token, order, holder_private=before.private)
    return token
