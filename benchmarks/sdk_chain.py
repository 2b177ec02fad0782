"""What the SDK's stages cost a call, CPU: all of them, and each on its own (warrant of depth two, schema, record on disk)."""

import gc
import secrets
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import anyio

from hive_a2a.crypto import new_signing_pair
from hive_a2a.policy import Policy, RateLimits
from hive_a2a.ports import Stage
from hive_a2a.stages.audit_file import FileAudit
from hive_a2a.stages.chain import ChainParts, StagedChain
from hive_a2a.stages.guard import ALLOW, Verdict
from hive_a2a.stages.schema import SkillSchema

NAME: Final = "sdk_chain"
VALUE: Final = "all_stages_us"
UNIT: Final = "us CPU a call"
CALLERS: Final = 16
CALLS_PER_CALLER: Final = 250
URL: Final = "https://agent.example/"
SCHEMA: Final = {
    "type": "object",
    "properties": {"path": {"type": "string"}, "n": {"type": "integer"}},
    "required": ["path"],
    "additionalProperties": False,
}
MANY: Final = RateLimits(per_s=1e9, burst=10**9)
STAGES: Final = (Stage.RATE, Stage.BREAKER, Stage.WARRANT, Stage.SCHEMA, Stage.GUARD, Stage.AUDIT)


def run() -> dict[str, float]:
    """Measure chains with one stage on, with all, and with none."""
    return anyio.run(_measure, backend_options={"use_uvloop": True})


async def _measure() -> dict[str, float]:
    calls = _BenchCalls()
    with tempfile.TemporaryDirectory(prefix="hive-") as folder:
        async with FileAudit(Path(folder), new_signing_pair().private) as audit:
            parts = calls.parts(audit)
            await _cpu_us(calls, parts, frozenset(STAGES))  # once, so that everything is loaded
            none = await _cpu_us(calls, parts, frozenset())
            found = {
                f"{stage}_us": await _cpu_us(calls, parts, frozenset({stage})) - none
                for stage in STAGES
            }
            whole = await _cpu_us(calls, parts, frozenset(STAGES))
    return {"all_stages_us": whole - none, **found}


class OpenGuard:
    """A guard that has nothing to say: what is measured is asking it."""

    async def before(self, call: Any) -> Verdict:
        """Allow."""
        return ALLOW

    async def after(self, call: Any, answer: Any) -> Verdict:
        """Allow."""
        return ALLOW

    async def event(self, call: Any, event: Any) -> Verdict:
        """Allow."""
        return ALLOW


class _BenchCalls:
    """What every run shares."""

    def __init__(self) -> None:
        from a2a.types import AgentCard, AgentInterface, AgentSkill, Message, Part, Role

        from hive_a2a.stages.tenuo_warrants import TenuoWarrants, attenuate_for, mint

        root, holder, self._key = (new_signing_pair() for _ in range(3))
        held = mint(
            root.private,
            holder=holder.public,
            tools={"read": _tools()},
            ttl_s=3600,
        )
        self._held = attenuate_for(
            self._key.public, held, holder_private=holder.private, ttl_s=3600
        )
        self._check = TenuoWarrants([root.public])
        self.card = AgentCard(
            name="bench",
            supported_interfaces=[AgentInterface(url=URL)],
            skills=[AgentSkill(id="read")],
        )
        self.answer = Message(message_id="a", role=Role.ROLE_AGENT, parts=[Part(text="done")])

    def parts(self, audit: FileAudit) -> ChainParts:
        return ChainParts(
            audit=audit,
            warrants=self._check,
            schemas={"read": SkillSchema(input=SCHEMA)},
            guards=[OpenGuard()],
        )

    def make(self, count: int) -> list[Any]:
        from a2a.types import Message, Part, Role, SendMessageRequest

        from hive_a2a.call import Binding, CallerIdentity, RequestHead, WireCall
        from hive_a2a.stages.tenuo_warrants import proof_headers

        made = []
        for _ in range(count):
            part = Part()
            part.data.struct_value.update({"path": "/data/mine/x", "n": 3})
            message = Message(
                message_id="m", role=Role.ROLE_USER, parts=[Part(text="read it"), part]
            )
            params = SendMessageRequest(message=message)
            headers = proof_headers(
                self._held,
                holder_private=self._key.private,
                method="SendMessage",
                params=params,
                audience=URL,
                nonce=secrets.token_bytes(16),
                skill="read",
            )
            head = RequestHead(
                binding=Binding.JSONRPC, http_method="POST", url=URL, headers=headers
            )
            caller = CallerIdentity(name="bearer:i#s", scheme="bearer")
            made.append(
                WireCall(
                    binding=Binding.JSONRPC,
                    method="SendMessage",
                    version="1.0",
                    head=head,
                    caller=caller,
                    params=params,
                    skill="read",
                )
            )
        return made


def _tools() -> dict[str, Any]:
    import tenuo_core  # type: ignore[import-untyped]

    return {
        "data.path": tenuo_core.Subpath("/data/mine"),
        "data.n": tenuo_core.Range(0, 10),
        "text_bytes": tenuo_core.Range(0, 1000),
    }


async def _cpu_us(calls: _BenchCalls, parts: ChainParts, on: frozenset[Stage]) -> float:
    policy = Policy(rate=MANY).without(*(frozenset(Stage) - on))
    chain = StagedChain(policy, calls.card, parts)
    count = CALLERS * CALLS_PER_CALLER
    ready = [calls.make(CALLS_PER_CALLER) for _ in range(CALLERS)]

    async def answer() -> Any:
        return calls.answer

    async def caller(own: list[Any], pass_through: Callable[..., Any]) -> None:
        for call in own:
            await pass_through(call, answer)

    gc.collect()
    gc.freeze()  # a server does not hold thousands of calls that wait to be made
    cpu = time.process_time()
    async with anyio.create_task_group() as tasks:
        for own in ready:
            tasks.start_soon(caller, own, chain.unary)
    spent = time.process_time() - cpu
    gc.unfreeze()
    return spent / count * 1e6
