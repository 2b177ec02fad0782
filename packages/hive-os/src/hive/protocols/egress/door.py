"""The proxy itself: one socket a sandbox, one call a connection, denied unless the gate admits it."""

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import anyio
from anyio.abc import SocketStream
from anyio.streams.buffered import BufferedByteReceiveStream
from anyio.streams.stapled import StapledByteStream

from hive.core.call import EffectClass, Outcome, Principal, Refused, Verb
from hive.core.clock import Clock
from hive.core.errors import (
    BadInputError,
    EngineError,
    EngineTimeoutError,
    EngineUnavailableError,
    HiveError,
)
from hive.core.grant import Grant
from hive.core.ids import SandboxId, plain_text
from hive.core.json import Json, encode
from hive.kernel.ports import Attempt, Frames, Gate, Passage
from hive.protocols.egress.addresses import Resolve, is_of_a_network, is_public, system_resolve
from hive.protocols.egress.heads import HEAD_MAX_BYTES, SAFE_METHODS, ProxyHead, Target, parse_head
from hive.protocols.egress.hello import CheckedStart
from hive.protocols.egress.tunnel import KeepingSend, Traffic, carry, drain

log = logging.getLogger(__name__)

ANSWER_AGAIN_TIMEOUT_S: Final = 30.0
_REASONS: Final = {
    200: "Connection Established",
    400: "Bad Request",
    403: "Forbidden",
    408: "Request Timeout",
    409: "Conflict",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class EgressLimits:
    """How much one sandbox's proxy does at once, and how long it waits."""

    connections_max: int = 64
    head_timeout_s: float = 10.0
    connect_timeout_s: float = 10.0
    idle_timeout_s: float = 120.0
    tunnel_timeout_s: float = 3600.0


class AddressRefusedError(Exception):
    """What was admitted leads to an address inside the machine or its networks."""


class EgressDoor:
    """Serve the proxy sockets of sandboxes.

    `principal_for` tells who calls when a connection shows no handle: the turn that runs in the
    sandbox, or the builder. `grant_for` gives the sandbox's grant, to see whether it names an inner
    address; without it none is reached by name. `is_builder` tells whose hosts the operator chose
    and no agent did: an index of one's own has an address of one's own network. `objection_to` names the
    rule of the kernel's policies that refuses a sandbox an address and port, or nothing: inside, the kernel holds
    the same rules, and out of a sandbox this door is the only way.
    """

    def __init__(
        self,
        *,
        gate: Gate,
        principal_for: Callable[[SandboxId], Principal | Refused],
        clock: Clock,
        grant_for: Callable[[SandboxId], Grant | None] | None = None,
        is_builder: Callable[[SandboxId], bool] | None = None,
        objection_to: Callable[[SandboxId, str, int], str] | None = None,
        resolve: Resolve = system_resolve,
        limits: EgressLimits | None = None,
    ) -> None:
        self._gate = gate
        self._principal_for = principal_for
        self._clock = clock
        self._grant_for = grant_for
        self._is_builder = is_builder or (lambda _sandbox: False)
        self._objection_to = objection_to or (lambda _sandbox, _address, _port: "")
        self._resolve = resolve
        self._limits = limits or EgressLimits()

    @asynccontextmanager
    async def serve_unix(
        self, path: str | Path, sandbox: SandboxId, *, mode: int = 0o666
    ) -> AsyncIterator[None]:
        """Serve one sandbox's socket; the folder around it says who may come near."""
        listener = await anyio.create_unix_listener(path, mode=mode)
        open_now = 0

        async def handle(client: SocketStream) -> None:
            nonlocal open_now
            async with client:
                if open_now >= self._limits.connections_max:
                    await _answer(client, 503, "Too many connections of this sandbox are open.")
                    return
                open_now += 1
                try:
                    await self._serve(client, sandbox)
                except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                    log.debug("egress.client_left", extra={"sandbox": sandbox})
                except Exception:  # one connection must not end the door
                    log.exception("egress.connection_failed", extra={"sandbox": sandbox})
                finally:
                    open_now -= 1

        async with listener, anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, handle)
            try:
                yield
            finally:
                tasks.cancel_scope.cancel()

    async def _serve(self, client: SocketStream, sandbox: SandboxId) -> None:
        reader = BufferedByteReceiveStream(client)
        try:
            with anyio.fail_after(self._limits.head_timeout_s):
                data = await reader.receive_until(b"\r\n\r\n", HEAD_MAX_BYTES)
            head = parse_head(data + b"\r\n\r\n")
        except TimeoutError:
            await _answer(client, 408, "The request did not come in time.")
            return
        except anyio.DelimiterNotFound:
            await _answer(client, 431, f"The head is over {HEAD_MAX_BYTES} bytes.")
            return
        except (anyio.IncompleteRead, anyio.EndOfStream):
            return
        except BadInputError as error:
            await _answer(client, 400, str(error))
            return
        principal = self._who(sandbox, head)
        if isinstance(principal, Refused):
            await self._refuse(client, head, principal)
            return
        await self._reach(StapledByteStream(client, reader), client, sandbox, principal, head)

    def _who(self, sandbox: SandboxId, head: ProxyHead) -> Principal | Refused:
        if head.handle:
            return self._gate.resolve_handle(sandbox, head.handle)
        return self._principal_for(sandbox)

    async def _reach(
        self,
        stream: "StapledByteStream",
        client: SocketStream,
        sandbox: SandboxId,
        principal: Principal,
        head: ProxyHead,
    ) -> None:
        safe = head.method in SAFE_METHODS and head.body_bytes == 0
        journey = _Journey(self, stream, sandbox, head)
        attempt = Attempt(
            principal=principal,
            verb=Verb.REACH,
            target=str(head.target),
            effect=EffectClass.PURE if safe else EffectClass.ONCE,
            arguments=encode(
                {"method": head.method, "target": str(head.target), "path": head.path}
            ),
            timeout_s=self._limits.tunnel_timeout_s,
            facts={
                "host": head.target.host,
                "port": head.target.port,
                "method": head.method,
                "path": head.path[:512],
            },
            # What an agent's headers carry leaves as well; of a tunnel nobody sees more than where it ends.
            aside=b"" if head.tunnel or principal.turn is None else head.onward,
        )
        try:
            async with self._gate.deliver(attempt, journey.act) as passage:
                if isinstance(passage, Refused):
                    await self._refuse(client, head, passage)
                    return
                await self._pass(client, journey, passage, safe=safe)
        except (HiveError, TimeoutError, AddressRefusedError) as error:
            await journey.fail(client, error)

    async def _pass(
        self, client: SocketStream, journey: "_Journey", passage: Passage, *, safe: bool
    ) -> None:
        if passage.replayed:
            recorded = [frame async for frame in passage]
            if recorded:
                await journey.answer_again(client, recorded)
            elif safe:  # What passed is not in the record. A read may happen again, nothing else.
                async for _ in journey.act():
                    pass
            else:
                await _answer(client, 409, "This connection was made before a restart.")
            return
        try:
            async for _ in passage:
                pass
        except (EngineError, TimeoutError, AddressRefusedError):
            passage.settle(Outcome.FAILED, cost=journey.cost())
            raise
        except anyio.get_cancelled_exc_class():
            if journey.carries:
                # Clients keep connections open for later: the end of the turn is their end, no failure.
                passage.settle(Outcome.OK, cost=journey.cost())
            raise
        passage.settle(Outcome.OK, cost=journey.cost())

    async def _refuse(self, client: SocketStream, head: ProxyHead, no: Refused) -> None:
        log.info(
            "egress.refused",
            extra={"check": no.check, "host": head.target.host, "port": head.target.port},
        )
        status = 429 if no.retry_after_s is not None else 403
        await _answer(
            client,
            status,
            f"Hive refused {head.target}: {no.reason}. "
            "If it is meant, let the operator add the host to the agent's needs and confirm them.",
            reason=no.check,
        )

    async def connect(self, sandbox: SandboxId, target: Target) -> SocketStream:
        """Resolve a target once, check what came out, and connect to exactly that.

        Raises:
            AddressRefusedError: it points inside.
            EngineUnavailableError: no address answers.
            EngineTimeoutError: none answers in time.

        """
        addresses = (
            (target.host,) if target.literal else await self._resolve(target.host, target.port)
        )
        for address in addresses:
            if not self._may_reach(sandbox, address, target.port):
                raise AddressRefusedError(
                    f"{target.host} leads inside the machine or its networks. "
                    "The grant would have to name the address itself."
                )
            if rule := self._objection_to(sandbox, address, target.port):
                raise AddressRefusedError(f"The rule {rule} refuses {address}:{target.port}.")
        late = False
        for address in addresses:
            try:
                with anyio.fail_after(self._limits.connect_timeout_s):
                    return await anyio.connect_tcp(address, target.port)
            except TimeoutError:
                late = True
            except OSError:
                continue
        failure = EngineTimeoutError if late else EngineUnavailableError
        raise failure(f"{target} cannot be reached.", fix="Try again later.")

    def _may_reach(self, sandbox: SandboxId, address: str, port: int) -> bool:
        if is_public(address) or self._named(sandbox, address, port):
            return True
        return self._is_builder(sandbox) and is_of_a_network(address)

    def _named(self, sandbox: SandboxId, address: str, port: int) -> bool:
        grant = self._grant_for(sandbox) if self._grant_for else None
        return grant is not None and any(
            rule.host.strip("[]") == address and port in rule.ports for rule in grant.hosts
        )

    async def carry(
        self, stream: StapledByteStream, host: SocketStream, head: ProxyHead, traffic: Traffic
    ) -> None:
        """Pass the bytes of one connection.

        Raises:
            AddressRefusedError: in its tunnel the client names another host.

        """
        start: CheckedStart | None = None
        if head.tunnel:
            await stream.send(b"HTTP/1.1 200 Connection Established\r\n\r\n")
            target = head.target
            start = CheckedStart(
                stream.receive_stream, target.host, target.port, literal=target.literal
            )
            stream = StapledByteStream(stream.send_stream, start)
        else:
            await host.send(head.onward)
        await carry(
            stream,
            host,
            traffic,
            idle_timeout_s=self._limits.idle_timeout_s,
            upload_bytes=None if head.tunnel else head.body_bytes,
        )
        if start is not None and start.refused:
            raise AddressRefusedError(f"The tunnel to {head.target} was cut: {start.refused}.")

    @property
    def clock(self) -> Clock:
        """Return the clock that durations are measured with."""
        return self._clock


class _Journey:
    """The deed of one connection: the answer to a plain request is its frames, a tunnel has none."""

    def __init__(
        self, door: EgressDoor, stream: StapledByteStream, sandbox: SandboxId, head: ProxyHead
    ) -> None:
        self._door = door
        self._stream = stream
        self._sandbox = sandbox
        self._head = head
        self._traffic: Traffic | None = None

    async def act(self) -> Frames:
        async with await self._door.connect(self._sandbox, self._head.target) as host:
            self._traffic = Traffic(self._door.clock)
            keeping = KeepingSend(self._stream.send_stream)
            stream = StapledByteStream(keeping, self._stream.receive_stream)
            plain = not self._head.tunnel
            await self._door.carry(
                stream if plain else self._stream, host, self._head, self._traffic
            )
        for frame in keeping.kept if plain else ():
            yield frame

    async def answer_again(self, client: SocketStream, recorded: list[bytes]) -> None:
        """Give the answer that is on record; the body that came with the question goes nowhere."""
        with anyio.move_on_after(ANSWER_AGAIN_TIMEOUT_S):
            await drain(self._stream.receive_stream, self._head.body_bytes)
            for piece in recorded:
                await client.send(piece)

    @property
    def carries(self) -> bool:
        """Tell whether it is a tunnel through which an answer has come."""
        return self._head.tunnel and self._traffic is not None and self._traffic.received_bytes > 0

    def cost(self) -> dict[str, Json]:
        traffic = self._traffic
        if traffic is None:
            return {}
        return {
            "sent_bytes": traffic.sent_bytes,
            "received_bytes": traffic.received_bytes,
            "duration_s": round(self._door.clock.monotonic() - traffic.started_s, 6),
        }

    async def fail(
        self, client: SocketStream, error: HiveError | TimeoutError | AddressRefusedError
    ) -> None:
        """Tell why nothing could be reached, unless bytes already pass."""
        if self._traffic is not None:
            return
        target = self._head.target
        match error:
            case AddressRefusedError():
                await _answer(client, 403, str(error), reason="address")
            case EngineTimeoutError() | TimeoutError():
                await _answer(client, 504, f"{target} did not answer in time.")
            case EngineError():
                await _answer(client, 502, f"{target} cannot be reached.")
            case _:
                await _answer(client, 503, "The node cannot do that now.")


async def _answer(client: SocketStream, status: int, text: str, *, reason: str = "") -> None:
    body = plain_text(text).encode() + b"\n"
    head = [
        f"HTTP/1.1 {status} {_REASONS[status]}",
        "content-type: text/plain; charset=utf-8",
        f"content-length: {len(body)}",
        *([f"hive-reason: hive.{reason}"] if reason else []),
        "connection: close",
        "",
        "",
    ]
    with anyio.move_on_after(5):
        await client.send("\r\n".join(head).encode() + body)
