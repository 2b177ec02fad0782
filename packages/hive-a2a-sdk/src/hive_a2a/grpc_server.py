"""A2A over gRPC, 1.0 and 0.3: the same callers, limits and chain as over HTTP.

The official services stand behind a `GuardedHandler`, so no method reaches the agent past the chain, and
behind `IdentifyingInterceptor`, which finds out who calls before a service is entered. Import this module only
where the extra `hive-a2a-sdk[grpc]` is installed.
"""

import math
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any, Final

# First: the official client and server import each other, and the client that comes second quietly
# does without gRPC of 0.3.
import a2a.client  # noqa: F401
import grpc
import grpc.aio
from a2a.compat.v0_3.a2a_v0_3_pb2_grpc import (
    add_A2AServiceServicer_to_server as add_old_service,
)
from a2a.compat.v0_3.grpc_handler import CompatGrpcHandler
from a2a.server.context import ServerCallContext
from a2a.server.request_handlers.grpc_handler import GrpcHandler, GrpcServerCallContextBuilder
from a2a.types import a2a_pb2 as pb
from a2a.types.a2a_pb2_grpc import add_A2AServiceServicer_to_server as add_service
from a2a.utils.errors import A2AError as OfficialError
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]

from hive_a2a.call import Binding, CallerIdentity, Proto, RequestHead
from hive_a2a.errors import A2AError
from hive_a2a.faults import DOMAIN, INVALID_REQUEST, UNAUTHENTICATED, WireFault, invalid
from hive_a2a.identity.svid import TLS_PEER, BadSvidError, TlsPeer, grpc_peer
from hive_a2a.policy import Policy, Strangers
from hive_a2a.ports import Authenticator, RefusalLog, Stage
from hive_a2a.wire.authenticate import challenge_of, identify, unauthenticated
from hive_a2a.wire.fault_words import fault_of
from hive_a2a.wire.guarded import GuardedHandler
from hive_a2a.wire.limits import OpenRequests
from hive_a2a.wire.request import (
    SINGLE_HEADERS,
    V03,
    V1,
    WireRequest,
    admit_version,
    admitted_tls_id,
    context_of,
    extensions_of,
)

GRACE_S: Final = 1.0
STREAMS_PER_CONNECTION_MAX: Final = 100
METADATA_BYTES_MAX: Final = 64 << 10
INT_MAX: Final = (1 << 31) - 1
"""The most that gRPC takes as a number, which is what no limit comes to there."""
_OLD_SERVICE: Final = "/a2a.v1.A2AService/"
_NEW_SERVICE: Final = "/lf.a2a.v1.A2AService/"
_REQUEST: ContextVar[WireRequest] = ContextVar("hive_a2a.grpc_request")


class IdentifyingInterceptor(grpc.aio.ServerInterceptor):
    """Finds out who calls, and holds the limits, before a service of A2A is entered."""

    def __init__(
        self,
        *,
        policy: Policy,
        authenticators: Sequence[Authenticator],
        open_requests: OpenRequests,
        refusal_log: RefusalLog | None = None,
        secure: bool = False,
    ) -> None:
        self._policy = policy
        self._authenticators = tuple(authenticators)
        self._challenge = challenge_of(self._authenticators)
        self._open = open_requests
        self._refusals = refusal_log
        self._scheme = "https" if secure else "http"

    async def intercept_service(self, continuation: Any, details: Any) -> Any:  # noqa: ANN401
        """Put the checks around a method of A2A; other services (health, reflection) pass."""
        handler = await continuation(details)
        method: str = details.method
        if handler is None or not method.startswith((_OLD_SERVICE, _NEW_SERVICE)):
            return handler
        if handler.response_streaming:
            return grpc.unary_stream_rpc_method_handler(
                self._stream(handler.unary_stream, method),
                request_deserializer=handler.request_deserializer,
                response_serializer=handler.response_serializer,
            )
        return grpc.unary_unary_rpc_method_handler(
            self._unary(handler.unary_unary, method),
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )

    def _unary(self, inner: Any, method: str) -> Any:  # noqa: ANN401
        async def answer(request: Proto, context: Any) -> Any:  # noqa: ANN401
            found = await self._begin(request, context, method)
            try:
                with self._open.one_more(), self._open.one_more_of(_counted(found)):
                    _REQUEST.set(found)
                    return await inner(request, context)
            except WireFault as fault:
                await abort(context, fault, self._challenge)

        return answer

    def _stream(self, inner: Any, method: str) -> Any:  # noqa: ANN401
        async def answer(request: Proto, context: Any) -> AsyncIterator[Any]:  # noqa: ANN401
            found = await self._begin(request, context, method)
            try:
                with self._open.one_more(), self._open.one_more_of(_counted(found)):
                    _REQUEST.set(found)
                    async for event in inner(request, context):
                        yield event
            except WireFault as fault:
                await abort(context, fault, self._challenge)

        return answer

    async def _begin(self, request: Proto, context: Any, method: str) -> WireRequest:  # noqa: ANN401
        peer, readable = _peer_of(context)
        head, doubled = _head(context, method, self._scheme, peer)
        try:
            _admit_readable(readable=readable)
            _admit_once(doubled)
            version = _version_of(head, method)
            _admit_numbers(request)
            caller = await self._identify(head)
        except WireFault as fault:
            if self._refusals is not None:
                self._refusals.refused(head, Stage.AUTHENTICATION, fault.message)
            await abort(context, fault, self._challenge)
            raise
        return WireRequest(
            head=head,
            caller=caller,
            version=version,
            extensions=extensions_of(head.headers, old=version == V03),
            body_bytes=request.ByteSize(),
        )

    async def _identify(self, head: RequestHead) -> CallerIdentity:
        caller = await identify(head, self._authenticators)
        if not caller.known and self._policy.strangers is Strangers.REFUSED:
            raise unauthenticated()
        return caller


class IdentifiedContextBuilder(GrpcServerCallContextBuilder):
    """Hands on the request that the interceptor identified; without one, the guarded handler refuses."""

    def build(self, context: Any) -> ServerCallContext:  # noqa: ANN401 - generic in the official class
        """Build the official context."""
        request = _REQUEST.get(None)
        return ServerCallContext() if request is None else context_of(request, "")


class NewGrpcService(GrpcHandler):
    """The official service of 1.0, with a word for every fault of ours."""

    async def abort_context(self, error: OfficialError, context: Any) -> None:  # noqa: ANN401
        """End a call with the status that fits."""
        fault = fault_of(error)
        if getattr(error, "fault", None) is None:
            await super().abort_context(error, context)
        else:
            await abort(context, fault)


class OldGrpcService(CompatGrpcHandler):
    """The official service of 0.3, with a word for every fault of ours."""

    async def abort_context(self, error: OfficialError, context: Any) -> None:  # noqa: ANN401
        """End a call with the status that fits."""
        fault = fault_of(error)
        if getattr(error, "fault", None) is None:
            await super().abort_context(error, context)
        else:
            await abort(context, fault)


async def abort(context: Any, fault: WireFault, challenge: bytes = b"") -> None:  # noqa: ANN401
    """End a call with a fault: its code, its typed detail, and its headers as trailing metadata."""
    status = status_pb2.Status(
        code=grpc.StatusCode[fault.kind.grpc].value[0], message=fault.message
    )
    info = error_details_pb2.ErrorInfo(reason=fault.kind.reason, domain=DOMAIN)
    for key, value in fault.metadata.items():
        info.metadata[key] = str(value)
    detail = any_pb2.Any()
    detail.Pack(info)
    status.details.append(detail)
    trailing: list[tuple[str, str | bytes]] = [
        ("grpc-status-details-bin", status.SerializeToString())
    ]
    trailing += [(name.decode(), value.decode("latin-1")) for name, value in fault.headers]
    if fault.kind is UNAUTHENTICATED and challenge and not fault.headers:
        trailing.append(("www-authenticate", challenge.decode("latin-1")))
    if fault.retry_after_s is not None:
        trailing.append(("retry-after", str(max(1, round(fault.retry_after_s)))))
    context.set_trailing_metadata(tuple(trailing))
    await context.abort(grpc.StatusCode[fault.kind.grpc], fault.message)


@asynccontextmanager
async def serving_grpc(
    handler: GuardedHandler,
    *,
    policy: Policy,
    authenticators: Sequence[Authenticator] = (),
    address: str = "127.0.0.1:0",
    credentials: grpc.ServerCredentials | None = None,
    open_requests: OpenRequests | None = None,
    refusal_log: RefusalLog | None = None,
    interceptors: Sequence[Any] = (),
) -> AsyncIterator[int]:
    """Serve while the context is open; gives the port.

    `credentials` are TLS or mutual TLS (`grpc.ssl_server_credentials`). `interceptors` stand before the
    identifying one, where a seal is opened.

    Raises:
        A2AError: the port cannot be opened.

    """
    identifying = IdentifyingInterceptor(
        policy=policy,
        authenticators=authenticators,
        open_requests=open_requests or OpenRequests(policy.limits),
        refusal_log=refusal_log,
        secure=credentials is not None,
    )
    server = grpc.aio.server(
        interceptors=[*interceptors, identifying],
        options=(
            ("grpc.max_receive_message_length", min(policy.limits.body_bytes, INT_MAX)),
            ("grpc.max_metadata_size", METADATA_BYTES_MAX),
            ("grpc.max_concurrent_streams", STREAMS_PER_CONNECTION_MAX),
            ("grpc.so_reuseport", 0),
        ),
        maximum_concurrent_rpcs=min(policy.limits.requests_open_max, INT_MAX),
    )
    builder = IdentifiedContextBuilder()
    add_service(NewGrpcService(handler, builder), server)  # type: ignore[no-untyped-call]
    add_old_service(OldGrpcService(handler, builder), server)  # type: ignore[no-untyped-call]
    port = _open(server, address, credentials)
    await server.start()
    try:
        yield port
    finally:
        await server.stop(GRACE_S)


def _open(server: Any, address: str, credentials: grpc.ServerCredentials | None) -> int:  # noqa: ANN401
    try:
        if credentials is None:
            port: int = server.add_insecure_port(address)
        else:
            port = server.add_secure_port(address, credentials)
    except RuntimeError as error:
        raise A2AError(
            f"The gRPC address {address} cannot be opened.",
            why=str(error),
            fix="Choose another port.",
        ) from error
    return port


def _peer_of(context: Any) -> tuple[TlsPeer | None, bool]:  # noqa: ANN401
    """Return who shows a certificate, and whether what was shown can be read."""
    try:
        return grpc_peer(context.auth_context() or {}), True
    except BadSvidError:
        return None, False


def _head(
    context: Any,  # noqa: ANN401
    method: str,
    scheme: str,
    peer: TlsPeer | None,
) -> tuple[RequestHead, list[str]]:
    """Return the head of a call, and what stands in it twice that may stand there once."""
    headers: dict[str, str] = {}
    doubled: list[str] = []
    for key, value in context.invocation_metadata() or ():
        name = key.lower()
        text = value if isinstance(value, str) else value.decode("latin-1")
        if name in headers and name in SINGLE_HEADERS:
            doubled.append(name)
        headers[name] = f"{headers[name]}, {text}" if name in headers else text
    noise_key, noise_hash = getattr(context, "hive_a2a_noise", None) or (b"", b"")
    host = headers.get("host") or headers.get(":authority", "")
    head = RequestHead(
        binding=Binding.GRPC,
        http_method="POST",
        url=f"{scheme}://{host}{method}",
        headers=headers,
        peer_address=_address(context.peer() or ""),
        spiffe_id=admitted_tls_id(peer, headers, sealed=bool(noise_key)) if peer else "",
        certificate_sha256=peer.certificate_sha256 if peer else b"",
        noise_key=noise_key,
        noise_hash=noise_hash,
        scope={"extensions": {TLS_PEER: peer}} if peer else {},
    )
    return head, doubled


def _admit_readable(*, readable: bool) -> None:
    if not readable:
        raise WireFault(UNAUTHENTICATED, "The client certificate cannot be read.")


def _admit_once(doubled: list[str]) -> None:
    if doubled:
        raise WireFault(INVALID_REQUEST, f"The metadata {doubled[0]} stands twice.")


def _address(peer: str) -> str:
    # "ipv4:127.0.0.1:5000" or "ipv6:[::1]:5000", and "unix:" for a socket without an address
    kind, _, rest = peer.partition(":")
    return rest.rpartition(":")[0].strip("[]") if kind in ("ipv4", "ipv6") else ""


def _version_of(head: RequestHead, method: str) -> str:
    spoken = V03 if method.startswith(_OLD_SERVICE) else V1
    # The service itself says which version is meant, so a client need not say it again.
    admit_version(head.headers.get("a2a-version", "") or spoken, spoken)
    return spoken


def _counted(request: WireRequest) -> str:
    return request.caller.name or f"@{request.head.peer_address}"


def _admit_numbers(request: Proto) -> None:
    """Let requests pass whose free values JSON has a word for, since their tasks are shown in JSON too."""
    if type(request) is not pb.SendMessageRequest:
        return
    message = request.message
    holders = [request.metadata, message.metadata]
    for part in message.parts:
        holders.append(part.metadata)
        if part.HasField("data"):
            _admit_value(part.data)
    for holder in holders:
        for value in holder.fields.values():
            _admit_value(value)


def _admit_value(value: Proto) -> None:
    kind = value.WhichOneof("kind")
    if kind == "number_value" and not math.isfinite(value.number_value):
        raise invalid("The request holds a number that has no end.")
    if kind == "struct_value":
        for one in value.struct_value.fields.values():
            _admit_value(one)
    elif kind == "list_value":
        for one in value.list_value.values:
            _admit_value(one)
