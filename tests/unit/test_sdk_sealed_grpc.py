"""Requests sealed over gRPC: the official client and service, on loopback."""

import grpc
import grpc.aio
import pytest
from a2a.client.client import ClientCallContext
from a2a.client.errors import A2AClientError
from a2a.types import a2a_pb2, a2a_pb2_grpc
from a2a.types.a2a_pb2 import GetTaskRequest, ListTasksRequest
from a2a.utils.errors import ExtensionSupportRequiredError, TaskNotFoundError

from hive_a2a.cards.noise_params import NOISE_URI, NoiseParams, put_noise
from hive_a2a.crypto import new_exchange_pair
from hive_a2a.policy import Policy, Sealing
from hive_a2a.sealed import grpc_client as grpc_client_module
from hive_a2a.sealed import grpc_server
from hive_a2a.sealed.binding import InnerHead
from hive_a2a.sealed.errors import (
    BrokenAnswerError,
    DowngradeError,
    SealCode,
    SealRefusedError,
)
from hive_a2a.sealed.extension import ERROR_METADATA, GRPC_HANDSHAKE, SEAL_HEADER
from hive_a2a.sealed.grpc_client import SealedChannel, SealedChannels
from hive_a2a.sealed.grpc_context import SealedContext
from hive_a2a.sealed.grpc_server import NoiseInterceptor
from hive_a2a.sealed.pins import PinnedPeers
from hive_a2a.sealed.responder import Responder, SealedAgent
from tests.sealed_grpc_rig import Noting, grpc_client, grpc_place
from tests.sealed_rig import (
    ANSWER,
    SECRET,
    TOKEN,
    Ear,
    card_of,
    events_of,
    listening,
    message_request,
)

pytestmark = pytest.mark.anyio
CONTEXT = ClientCallContext(
    service_parameters={"authorization": f"Bearer {TOKEN}", "A2A-Extensions": "urn:x"}
)


async def spoken(client) -> list:
    return [one async for one in client.send_message(message_request(), context=CONTEXT)]


@pytest.mark.parametrize("streaming", [False, True])
async def test_a_recorder_on_a_grpc_wire_finds_no_payload_token_or_answer(streaming):
    for sealing in (Sealing.OFFERED, Sealing.OFF):
        ear = Ear()
        async with grpc_place(sealing=Sealing.OFFERED) as there, listening(ear, there.port) as port:
            peers = PinnedPeers(static=new_exchange_pair(), sealing=sealing)

            def through_the_ear(_address, port=port):
                return grpc.aio.insecure_channel(f"127.0.0.1:{port}")

            async with grpc_client(
                there.place, open_channel=through_the_ear, peers=peers, streaming=streaming
            ) as client:
                assert ANSWER in str(await spoken(client))
            assert there.parrot.heard == [SECRET]
        words = (SECRET, ANSWER)
        assert all((word.encode() in ear.heard) is (sealing is Sealing.OFF) for word in words)
        assert b"Bearer" not in ear.heard or sealing is Sealing.OFF


async def test_the_service_sees_the_inner_metadata_and_who_sealed_it():
    static = new_exchange_pair()
    async with grpc_place() as there:
        peers = PinnedPeers(static=static)
        async with grpc_client(there.place, peers=peers, streaming=False) as client:
            await spoken(client)
        context = there.service.contexts[-1]
        metadata = dict(context.invocation_metadata())
        assert metadata["authorization"] == f"Bearer {TOKEN}"
        assert set(metadata["a2a-extensions"].split(",")) == {"urn:x", NOISE_URI}
        assert metadata["a2a-version"] == "1.0"
        assert SEAL_HEADER not in metadata
        assert context.hive_a2a_noise[0] == static.public
        assert context.peer().startswith("ipv4:127.0.0.1")


async def test_errors_come_back_through_the_seal():
    async with grpc_place() as there, grpc_client(there.place) as client:
        with pytest.raises(TaskNotFoundError):
            await client.get_task(GetTaskRequest(id="nowhere"))
        assert (await client.list_tasks(ListTasksRequest())).total_size == 0


async def test_a_plain_call_is_refused_with_the_standards_error():
    class Log:
        def __init__(self):
            self.heard = []

        def refused(self, head, stage, reason):
            self.heard.append((head.binding.value, str(stage), reason))

    log = Log()
    async with grpc_place(refusal_log=log) as there:
        channel = grpc.aio.insecure_channel(f"127.0.0.1:{there.port}")
        peers = PinnedPeers(static=new_exchange_pair())
        bare = card_of(f"127.0.0.1:{there.port}", ("GRPC",))
        there.place.card.CopyFrom(bare)
        for streaming in (True, False):
            async with grpc_client(there.place, peers=peers, streaming=streaming) as client:
                with pytest.raises(ExtensionSupportRequiredError):
                    await events_of(client)
        assert await _code_of(channel, "/x.Y/Z", b"", []) is grpc.StatusCode.UNIMPLEMENTED
        assert there.parrot.heard == []
        assert log.heard[0][:2] == ("GRPC", "noise")
        await channel.close()


async def _code_of(channel, method, body, metadata):
    try:
        await channel.unary_unary(method)(body, metadata=metadata)
    except grpc.aio.AioRpcError as error:
        for name, value in error.trailing_metadata():
            if name == ERROR_METADATA:
                return value
        return error.code()
    return None


@pytest.mark.parametrize("sealing", list(Sealing))
async def test_a_handshake_or_call_that_does_not_open_is_refused_with_a_word(sealing):
    async with (
        grpc_place(sealing=sealing) as there,
        grpc.aio.insecure_channel(f"127.0.0.1:{there.port}") as channel,
    ):
        shaken = await _code_of(channel, GRPC_HANDSHAKE, b"junk", [])
        method = "/lf.a2a.v1.A2AService/GetTask"
        sent = await _code_of(channel, method, b"\x01" + b"x" * 60, [(SEAL_HEADER, "1")])
        if sealing is Sealing.OFF:
            assert shaken is grpc.StatusCode.UNIMPLEMENTED
            assert sent is not None
            assert sent != SealCode.SESSION_UNKNOWN
        else:
            assert (shaken, sent) == (SealCode.MALFORMED, SealCode.SESSION_UNKNOWN)


class Way:
    """Somebody between a client and the server, who may change frames."""

    def __init__(self, inner, *, request=None, unary=None, stream=None):
        self.inner = inner
        self.request = request or (lambda one: one)
        self.unary = unary or (lambda one: one)
        self.stream = stream or (lambda frames: frames)
        self.sent = []

    def unary_unary(self, method):
        below = self.inner.unary_unary(method)

        async def call(body, **options):
            if method == GRPC_HANDSHAKE:
                return await below(body, **options)
            self.sent.append((method, body, options["metadata"]))
            return self.unary(await below(self.request(body), **options))

        return call

    def unary_stream(self, method):
        below = self.inner.unary_stream(method)

        def call(body, **options):
            self.sent.append((method, body, options["metadata"]))
            return Frames(below(self.request(body), **options), self.stream)

        return call

    async def close(self, grace=None):
        await self.inner.close(grace)


class Frames:
    def __init__(self, call, change):
        self.call = call
        self.change = change
        self.rest = None

    async def read(self):
        if self.rest is None:
            frames = []
            while (one := await self.call.read()) is not grpc.aio.EOF:
                frames.append(one)
            self.rest = list(self.change(frames))
        return self.rest.pop(0) if self.rest else grpc.aio.EOF


@pytest.mark.parametrize(
    "change",
    [
        lambda frames: frames[:-1],
        lambda frames: [],
        lambda frames: [frames[0], *frames[2:]],
        lambda frames: [frames[0], frames[2], frames[1], *frames[3:]],
        lambda frames: [frames[0], frames[1], frames[1], *frames[2:]],
        lambda frames: [b"", *frames],
        lambda frames: [b"\x01" + frames[0][1:]],
    ],
)
async def test_a_stream_over_grpc_that_was_cut_or_reordered_is_told(change):
    async with grpc_place() as there:

        def through(address):
            return Way(grpc.aio.insecure_channel(address), stream=change)

        async with grpc_client(there.place, open_channel=through) as client:
            with pytest.raises(BrokenAnswerError):
                await events_of(client)


async def test_a_call_over_grpc_is_not_repeated_or_moved():
    async with grpc_place() as there:
        ways = []

        def through(address):
            ways.append(Way(grpc.aio.insecure_channel(address)))
            return ways[-1]

        async with grpc_client(there.place, open_channel=through, streaming=False) as client:
            await events_of(client)
            method, body, metadata = ways[0].sent[-1]
            inner = ways[0].inner
            assert await _code_of(inner, method, body, metadata) == SealCode.REPLAYED
            ways[0].request = lambda one: b"\x01" + b"x" * 60
            with pytest.raises(SealRefusedError):
                await events_of(client)
            method, body, metadata = ways[0].sent[-1]
            moved = "/lf.a2a.v1.A2AService/CancelTask"
            assert await _code_of(inner, moved, body, metadata) == SealCode.NOT_OPENED
            for change in ([*metadata[:1], ("a2a-extensions", "urn:x")], metadata[:1]):
                assert await _code_of(inner, method, body, change) == SealCode.NOT_OPENED
            ways[0].request = lambda one: one
            ways[0].unary = lambda one: one[:-1] + bytes([one[-1] ^ 1])
            with pytest.raises(BrokenAnswerError):
                await events_of(client)


async def test_a_lost_session_heals_over_grpc_with_one_handshake():
    async with grpc_place() as there:
        for streaming in (False, True):
            async with grpc_client(there.place, streaming=streaming) as client:
                await events_of(client)
                there.responder.close()
                assert ANSWER in str(await events_of(client))
        assert len(there.parrot.heard) == 4
        assert len(there.responder.store) == 1


async def test_other_refusals_and_failures_are_not_retried():
    async with grpc_place() as there:
        ways = []

        def through(address):
            ways.append(Way(grpc.aio.insecure_channel(address)))
            return ways[-1]

        for streaming in (False, True):
            async with grpc_client(
                there.place, open_channel=through, streaming=streaming
            ) as client:
                await events_of(client)
                ways[-1].request = lambda one: one[:-1] + bytes([one[-1] ^ 1])
                with pytest.raises(SealRefusedError) as refused:
                    await events_of(client)
                assert refused.value.code == SealCode.NOT_OPENED
                assert len(ways[-1].sent) == 2
                await ways[-1].inner.close()
        away = card_of("127.0.0.1:1", ("GRPC",))
        away.capabilities.CopyFrom(there.place.card.capabilities)
        there.place.card.CopyFrom(away)
        async with grpc_client(there.place) as client:
            with pytest.raises(A2AClientError):
                await events_of(client)


async def test_a_server_that_forgets_at_once_is_not_asked_forever():
    async with grpc_place() as there:

        def forgetful(frame):
            there.responder.close()
            return frame

        for streaming in (False, True):

            def through(address):
                return Way(grpc.aio.insecure_channel(address), request=forgetful)

            async with grpc_client(
                there.place, open_channel=through, streaming=streaming
            ) as client:
                with pytest.raises(SealRefusedError) as refused:
                    await events_of(client)
                assert refused.value.code == SealCode.SESSION_UNKNOWN


async def test_a_handler_that_breaks_says_nothing_of_why(caplog):
    class Broken(Noting):
        async def SendMessage(self, request, context):  # noqa: N802
            await context.send_initial_metadata(())
            context.set_code(grpc.StatusCode.OK)
            context.set_details("x")
            assert (context.code(), context.details()) == (grpc.StatusCode.OK, "x")
            with pytest.raises(NotImplementedError):
                await context.write(b"")
            raise RuntimeError("the password is swordfish")

        async def SendStreamingMessage(self, request, context):  # noqa: N802
            yield a2a_pb2.StreamResponse()
            raise RuntimeError("the password is swordfish")

    async with grpc_place(service=Broken) as there:
        for streaming in (False, True):
            async with grpc_client(there.place, streaming=streaming) as client:
                with pytest.raises(A2AClientError) as told:
                    await events_of(client)
                assert "UNKNOWN" in str(told.value)
                assert "swordfish" not in str(told.value)


async def test_a_status_with_trailing_metadata_travels_inside():
    class Rich(Noting):
        async def GetTask(self, request, context):  # noqa: N802
            class Status:
                code = grpc.StatusCode.RESOURCE_EXHAUSTED
                details = "slower\nplease"
                trailing_metadata = (("retry-after", "3"), ("via", "x"), ("a-bin", b"\n\x00"))

            await context.abort_with_status(Status)

        async def CancelTask(self, request, context):  # noqa: N802
            context.set_code(14)
            return a2a_pb2.Task()

    async with grpc_place(service=Rich) as there:
        peers = PinnedPeers(static=new_exchange_pair())
        await peers.pin(there.place.card)
        address = f"127.0.0.1:{there.port}"
        channels = SealedChannels(grpc.aio.insecure_channel, peers=peers)
        async with channels(address) as channel:
            assert isinstance(channel, SealedChannel)
            await channel.channel_ready()
            assert channel.get_state() is grpc.ChannelConnectivity.READY
            stub = a2a_pb2_grpc.A2AServiceStub(channel)
            with pytest.raises(grpc.aio.AioRpcError) as told:
                await stub.GetTask(GetTaskRequest(id="1"))
            assert told.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert told.value.details() == "slower\nplease"
            assert dict(told.value.trailing_metadata()) == {"retry-after": "3", "a-bin": b"\n\x00"}
            with pytest.raises(grpc.aio.AioRpcError) as told:
                await stub.CancelTask(a2a_pb2.CancelTaskRequest(id="1"))
            assert told.value.code() is grpc.StatusCode.UNAVAILABLE
            stream = stub.SendStreamingMessage(message_request())
            assert not stream.cancel()
            assert len([one async for one in stream]) == 5
            assert await stream.read() is grpc.aio.EOF
            stopped = stub.SendStreamingMessage(message_request())
            await stopped.read()
            assert stopped.cancel()
            for kind in (channel.stream_unary, channel.stream_stream):
                with pytest.raises(NotImplementedError):
                    kind("/a/b")


async def test_a_plain_channel_needs_a_pinned_card_and_the_policy():
    told = []
    peers = PinnedPeers(static=new_exchange_pair(), on_plain=lambda *one: told.append(one))
    channels = SealedChannels(grpc.aio.insecure_channel, peers=peers)
    with pytest.raises(DowngradeError):
        channels("127.0.0.1:9")
    await peers.pin(card_of("127.0.0.1:9", ("GRPC",)))
    async with channels("127.0.0.1:9") as channel:
        assert not isinstance(channel, SealedChannel)
    assert told[0][0] == "127.0.0.1:9"


async def test_an_answer_that_opens_and_is_none_is_refused():
    """Only a broken or evil peer seals such things; they must not pass for an end."""
    peers = PinnedPeers(static=new_exchange_pair())
    for status, error in ((99, BrokenAnswerError), (None, BrokenAnswerError)):

        class Strange(SealedContext):
            def end(self, body=b"", status=status):
                return b"" if status is None else InnerHead(status, body, ()).encode()

        async with grpc_place() as there:
            grpc_server.SealedContext = Strange
            try:
                await peers.pin(there.place.card)
                for streaming in (False, True):
                    async with grpc_client(there.place, streaming=streaming) as client:
                        with pytest.raises(error):
                            await events_of(client)
            finally:
                grpc_server.SealedContext = SealedContext


async def test_streams_of_requests_and_raw_handlers_pass():
    async def echo(request, _context):
        return request[::-1]

    async def count(requests, _context):
        return b"%d" % len([one async for one in requests])

    class Other(grpc.GenericRpcHandler):
        def service(self, details):
            if details.method == "/x.A2AService/Raw":
                return grpc.unary_unary_rpc_method_handler(echo, response_serializer=bytes)
            if details.method == "/x.A2AService/Count":
                return grpc.stream_unary_rpc_method_handler(count)
            return None

    responder, static = Responder(), new_exchange_pair()
    agents = []
    interceptor = NoiseInterceptor(
        responder=responder,
        agents_of=lambda _: tuple(agents),
        policy=Policy(sealing=Sealing.OFFERED),
    )
    server = grpc.aio.server(interceptors=[interceptor])
    server.add_generic_rpc_handlers((Other(),))
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    card = card_of(address, ("GRPC",))
    params = NoiseParams(static_key=static.public)
    put_noise(card, params)
    agents.append(SealedAgent.of_card(card, params, static))
    await server.start()
    peers = PinnedPeers(static=new_exchange_pair())
    await peers.pin(card)
    async with SealedChannels(grpc.aio.insecure_channel, peers=peers)(address) as channel:
        call = channel.unary_unary("/x.A2AService/Raw")
        assert await call(b"abc", metadata=(("host", "x"), ("a-bin", b"\x00"))) == b"cba"
        state = channel.get_state()
        await channel.wait_for_state_change(grpc.ChannelConnectivity.SHUTDOWN)
        assert state is grpc.ChannelConnectivity.READY
    async with grpc.aio.insecure_channel(address) as plain:
        count_call = plain.stream_unary("/x.A2AService/Count")
        sealed_looking = ((SEAL_HEADER, "1"), ("a-bin", b"\x00"), ("x", "1"), ("x", "2"))
        assert await count_call(iter([b"1", b"2"]), metadata=sealed_looking) == b"2"
    await server.stop(0)


async def test_a_server_that_is_away_is_an_error_of_grpc():
    there = card_of("127.0.0.1:9", ("GRPC",))
    put_noise(there, NoiseParams(static_key=new_exchange_pair().public))
    peers = PinnedPeers(static=new_exchange_pair())
    await peers.pin(there)
    async with SealedChannels(grpc.aio.insecure_channel, peers=peers)("127.0.0.1:9") as channel:
        with pytest.raises(grpc.aio.AioRpcError):
            await channel.unary_unary("/x.A2AService/Raw")(b"")


async def test_a_connection_that_ends_after_a_lost_session_is_an_error_of_grpc():
    async with grpc_place() as there:
        calls = []

        def forget_then_break(frame):
            calls.append(frame)
            if len(calls) == 1:
                there.responder.close()
                return frame
            raise grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, None, None)

        def through(address):
            return Way(grpc.aio.insecure_channel(address), request=forget_then_break)

        async with grpc_client(there.place, open_channel=through, streaming=False) as client:
            with pytest.raises(A2AClientError):
                await events_of(client)
        assert len(calls) == 2


async def test_a_handshake_that_is_refused_over_grpc_says_why():
    async with grpc_place() as there:
        there.place.card.description = "another"
        async with grpc_client(there.place) as client:
            with pytest.raises(SealRefusedError) as refused:
                await events_of(client)
        assert refused.value.code == SealCode.CARD_UNKNOWN


async def test_an_error_in_a_stream_comes_back_through_the_seal():
    class Ending(Noting):
        async def SendStreamingMessage(self, request, context):  # noqa: N802
            yield a2a_pb2.StreamResponse()
            context.set_trailing_metadata((("a", "b"), ("c", "d")))
            await context.abort(grpc.StatusCode.ABORTED, "enough")

    async with grpc_place(service=Ending) as there:
        peers = PinnedPeers(static=new_exchange_pair())
        await peers.pin(there.place.card)
        address = f"127.0.0.1:{there.port}"
        async with SealedChannels(grpc.aio.insecure_channel, peers=peers)(address) as channel:
            stream = a2a_pb2_grpc.A2AServiceStub(channel).SendStreamingMessage(message_request())
            assert await stream.read() == a2a_pb2.StreamResponse()
            with pytest.raises(grpc.aio.AioRpcError) as told:
                await stream.read()
        assert (told.value.code(), told.value.details()) == (grpc.StatusCode.ABORTED, "enough")


def test_a_word_of_a_seal_that_is_unknown_is_still_a_refusal():
    trailing = grpc.aio.Metadata(("x", "y"), (ERROR_METADATA, "made-up"))
    error = grpc.aio.AioRpcError(grpc.StatusCode.INTERNAL, grpc.aio.Metadata(), trailing)
    with pytest.raises(SealRefusedError) as refused:
        grpc_client_module._admit_loss(error)
    assert refused.value.code == "unknown"


async def test_an_error_that_is_not_of_the_seal_is_not_taken_for_one():
    error = grpc.aio.AioRpcError(grpc.StatusCode.INTERNAL, grpc.aio.Metadata(), None)
    with pytest.raises(grpc.aio.AioRpcError):
        grpc_client_module._admit_loss(error)
