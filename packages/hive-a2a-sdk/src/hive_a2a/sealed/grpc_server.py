"""Sealing in front of a gRPC server: an interceptor that opens requests and seals what answers them.

    grpc.aio.server(interceptors=[NoiseInterceptor(responder=..., agents_of=..., policy=...)])

The handshake is a unary method of its own. A sealed call goes to the method that was meant, with the marker
`a2a-noise: 1` in its metadata; its messages are frames in the place of protobuf. The handler behind
sees the inner metadata, and a context whose `hive_a2a_noise` is (initiator's static key, handshake
hash). Status, details and trailing metadata travel inside the answer: outside, a sealed call is always OK.
"""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Final, NoReturn

import grpc
import grpc.aio
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]

from hive_a2a.call import Binding, RequestHead
from hive_a2a.cards.noise_params import NOISE_URI
from hive_a2a.faults import DOMAIN, EXTENSION
from hive_a2a.policy import Policy, Sealing
from hive_a2a.ports import RefusalLog, Stage
from hive_a2a.sealed.binding import InnerHead, RequestBinding
from hive_a2a.sealed.errors import SealFault
from hive_a2a.sealed.extension import ERROR_METADATA, GRPC_HANDSHAKE, SEAL_HEADER
from hive_a2a.sealed.grpc_context import SealedAbortError, SealedContext
from hive_a2a.sealed.responder import Agents, OpenedRequest, Responder

AgentsOfCall = Callable[[Mapping[str, str]], Agents]
"""Says by its metadata which agent a call is for: the cards that are honoured for it, or none."""
log = logging.getLogger(__name__)
_SERVICE: Final = ".A2AService/"
_REFUSAL: Final = (
    "This agent is spoken to end-to-end encrypted only; see the extension in its card."
)


class NoiseInterceptor(grpc.aio.ServerInterceptor):
    """Opens sealed calls, answers handshakes, and refuses plain calls where sealing is required."""

    def __init__(
        self,
        *,
        responder: Responder,
        agents_of: AgentsOfCall,
        policy: Policy,
        refusal_log: RefusalLog | None = None,
    ) -> None:
        self._responder = responder
        self._agents_of = agents_of
        self._policy = policy
        self._log = refusal_log

    async def intercept_service(
        self,
        continuation: Callable[[Any], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:  # noqa: ANN401 - a handler of gRPC has no type
        """Choose who handles a call."""
        details = handler_call_details
        metadata = _texts(details.invocation_metadata)
        agents = () if self._policy.sealing is Sealing.OFF else self._agents_of(metadata)
        if agents and details.method == GRPC_HANDSHAKE:
            return grpc.unary_unary_rpc_method_handler(self._handshake(agents, metadata))
        handler = await continuation(details)
        if handler is None or not agents:
            return handler
        if SEAL_HEADER in metadata:
            return self._opening(handler, details.method, agents, metadata)
        if self._policy.sealing is Sealing.REQUIRED and _SERVICE in details.method:
            return self._refusing(handler, details.method, metadata)
        return handler

    def _handshake(
        self, agents: Agents, metadata: Mapping[str, str]
    ) -> Callable[[bytes, Any], Awaitable[bytes]]:
        async def shake(body: bytes, context: Any) -> bytes:  # noqa: ANN401
            try:
                return self._responder.shake(body, agents, address=address_of(context))
            except SealFault as fault:
                await self._fail(context, fault, GRPC_HANDSHAKE, metadata)

        return shake

    def _opening(
        self,
        handler: Any,  # noqa: ANN401
        method: str,
        agents: Agents,
        metadata: Mapping[str, str],
    ) -> Any:  # noqa: ANN401
        binding = RequestBinding(
            method=b"POST",
            target=method.encode(),
            version=metadata.get("a2a-version", "").encode(),
            extensions=metadata.get("a2a-extensions", "").encode(),
        )

        async def opened(frame: bytes, context: Any) -> OpenedRequest:  # noqa: ANN401
            try:
                return self._responder.open(frame, binding, agents)
            except SealFault as fault:
                await self._fail(context, fault, method, metadata)

        async def unary(frame: bytes, context: Any) -> bytes:  # noqa: ANN401
            request = await opened(frame, context)
            return await _unary(handler, request, SealedContext(context, request))

        async def stream(frame: bytes, context: Any) -> AsyncIterator[bytes]:  # noqa: ANN401
            request = await opened(frame, context)
            async for one in _stream(handler, request, SealedContext(context, request)):
                yield one

        if handler.unary_unary is not None:
            return grpc.unary_unary_rpc_method_handler(unary)
        if handler.unary_stream is not None:
            return grpc.unary_stream_rpc_method_handler(stream)
        return handler  # no method of A2A takes a stream of requests

    def _refusing(self, handler: Any, method: str, metadata: Mapping[str, str]) -> Any:  # noqa: ANN401
        async def refuse(_request: bytes, context: Any) -> bytes:  # noqa: ANN401
            self._tell(method, metadata, "plain request, and sealing is required", context)
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, _REFUSAL, _refusal_metadata())
            return b""  # pragma: no cover - abort raises

        async def refuse_stream(request: bytes, context: Any) -> AsyncIterator[bytes]:  # noqa: ANN401
            yield await refuse(request, context)

        if handler.response_streaming:
            return grpc.unary_stream_rpc_method_handler(refuse_stream)
        return grpc.unary_unary_rpc_method_handler(refuse)

    async def _fail(
        self,
        context: Any,  # noqa: ANN401
        fault: SealFault,
        method: str,
        metadata: Mapping[str, str],
    ) -> NoReturn:
        self._tell(method, metadata, fault.code.value, context)
        await context.abort(
            grpc.StatusCode.FAILED_PRECONDITION,
            "A sealed call was not opened.",
            ((ERROR_METADATA, fault.code.value),),
        )
        raise AssertionError  # pragma: no cover - abort raises

    def _tell(self, method: str, metadata: Mapping[str, str], reason: str, context: Any) -> None:  # noqa: ANN401
        if self._log is not None:
            head = RequestHead(
                binding=Binding.GRPC,
                http_method="POST",
                url=method,
                headers=dict(metadata),
                peer_address=address_of(context),
            )
            self._log.refused(head, Stage.NOISE, reason)


def address_of(context: Any) -> str:  # noqa: ANN401
    """Return the address of a caller; empty where it has none, as on a socket of this machine."""
    # "ipv4:127.0.0.1:5000" or "ipv6:[::1]:5000", and "unix:" for a socket without an address
    kind, _, rest = (context.peer() or "").partition(":")
    return rest.rpartition(":")[0].strip("[]") if kind in ("ipv4", "ipv6") else ""


def _refusal_metadata() -> tuple[tuple[str, bytes], ...]:
    """Return the standard's error for a required extension, as its details travel."""
    status = status_pb2.Status(code=grpc.StatusCode.FAILED_PRECONDITION.value[0], message=_REFUSAL)
    status.details.add().Pack(
        error_details_pb2.ErrorInfo(
            reason=EXTENSION.reason,
            domain=DOMAIN,
            metadata={"check": Stage.NOISE.value, "extension": NOISE_URI},
        )
    )
    return (("grpc-status-details-bin", status.SerializeToString()),)


async def _unary(handler: Any, request: OpenedRequest, context: SealedContext) -> bytes:  # noqa: ANN401
    body = b""
    try:
        message = _message(handler, request)
        body = handler.response_serializer(await handler.unary_unary(message, context))
    except SealedAbortError:
        pass
    except Exception:
        log.exception("call.broke")
        context.broke()
    return request.sealer.frame(context.end(body), final=True)


async def _stream(
    handler: Any,  # noqa: ANN401
    request: OpenedRequest,
    context: SealedContext,
) -> AsyncIterator[bytes]:
    """Yield a frame a message; the first says that there is a stream, the last how it ended."""
    sealer = request.sealer
    yield sealer.frame(InnerHead(0, b"", ()).encode(), final=False)
    try:
        async for one in handler.unary_stream(_message(handler, request), context):
            yield sealer.frame(handler.response_serializer(one), final=False)
    except SealedAbortError:
        pass
    except Exception:
        log.exception("stream.broke")
        context.broke()
    yield sealer.frame(context.end(), final=True)


def _message(handler: Any, request: OpenedRequest) -> Any:  # noqa: ANN401
    read = handler.request_deserializer
    return read(request.inner.body) if read is not None else request.inner.body


def _texts(metadata: Any) -> dict[str, str]:  # noqa: ANN401
    """Return the metadata that is text; of several values of a name, all."""
    found: dict[str, str] = {}
    for name, value in metadata or ():
        if isinstance(value, str):
            found[name] = f"{found[name]},{value}" if name in found else value
    return found
