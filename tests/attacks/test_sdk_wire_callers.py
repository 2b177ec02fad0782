"""Callers and requests that contradict themselves, strangers, and doors beside the door."""

import logging

import grpc
import pytest
from a2a.server.request_handlers.grpc_handler import GrpcHandler
from a2a.types import a2a_pb2 as pb
from a2a.types.a2a_pb2_grpc import A2AServiceStub, add_A2AServiceServicer_to_server

from hive_a2a.call import CALL_KEY
from hive_a2a.faults import WireFault, refused_by
from hive_a2a.grpc_server import serving_grpc
from hive_a2a.policy import Policy, Strangers, WireLimits
from tests.wire_rig import (
    EchoAgent,
    WordAuthenticator,
    call,
    client_of,
    endpoint,
    message,
    official_handler,
    plain_official,
)

pytestmark = pytest.mark.anyio
ANN = (("authorization", "Bearer ann"),)


class ClosedChain:
    """Lets nothing pass, and remembers what came."""

    def __init__(self):
        self.calls = []

    async def unary(self, call, run):
        self.calls.append(call)
        raise refused_by("guard", "Not today.", detail="a secret reason")

    async def stream(self, call, run):
        self.calls.append(call)
        raise refused_by("guard", "Not today.", detail="a secret reason")
        yield


async def begin(client, text="wait") -> str:
    answer = await client.post("/", json=call("SendMessage", {"message": message(text)}))
    return answer.json()["result"]["task"]["id"]


async def test_a_stranger_reads_and_lists_the_tasks_of_another():
    plain = plain_official()
    async with client_of(plain) as one, client_of(plain) as other:
        task = await begin(one)
        assert (await other.get(f"/tasks/{task}")).json()["id"] == task
        assert (await other.get("/tasks")).json()["totalSize"] == 1
    for policy in (Policy.secure(), Policy(strangers=Strangers.BEGIN)):
        ours = endpoint(policy=policy)
        async with client_of(ours, "ann") as ann, client_of(ours) as stranger:
            task = await begin(ann)
            for method, params in (
                ("GetTask", {"id": task}),
                ("ListTasks", {}),
                ("CancelTask", {"id": task}),
                ("SubscribeToTask", {"id": task}),
                ("GetExtendedAgentCard", {}),
            ):
                answer = await stranger.post("/", json=call(method, params))
                assert answer.status_code == 401, method
                assert answer.headers["www-authenticate"] == 'Bearer realm="a2a"'
            assert (await stranger.get(f"/tasks/{task}")).status_code == 401
            assert (await stranger.get("/tasks")).status_code == 401
            assert (await ann.get(f"/tasks/{task}")).status_code == 200


async def test_a_caller_reads_the_task_of_another():
    ours = endpoint()
    async with client_of(ours, "ann") as ann, client_of(ours, "bob") as bob:
        task = await begin(ann)
        assert (await bob.get(f"/tasks/{task}")).status_code == 404
        assert (await bob.get("/tasks")).json()["totalSize"] == 0


async def test_a_stranger_may_begin_where_the_policy_says_so_and_nothing_more():
    ours = endpoint(policy=Policy(strangers=Strangers.BEGIN))
    async with client_of(ours) as stranger:
        task = await begin(stranger)
        for more in ({"taskId": task}, {"referenceTaskIds": [task]}):
            params = {"message": message("go on", **more)}
            assert (await stranger.post("/", json=call("SendMessage", params))).status_code == 401
        push = {"taskPushNotificationConfig": {"url": "https://example.com"}}
        params = {"message": message(), "configuration": push}
        assert (await stranger.post("/", json=call("SendMessage", params))).status_code == 401


async def test_a_tenant_in_the_path_and_another_in_the_body():
    body = {"message": message(), "tenant": "blue"}
    async with client_of(plain_official()) as client:
        assert (await client.post("/red/message:send", json=body)).status_code == 200
    async with client_of(endpoint(), "ann") as client:
        assert (await client.post("/red/message:send", json=body)).status_code == 400
        assert (await client.post("/blue/message:send", json=body)).status_code == 200
        assert (await client.get("/red/tasks", params={"tenant": "blue"})).status_code == 400


async def test_a_tenant_that_is_not_here():
    def tenant_of(_head, named):
        if named != "red":
            raise WireFault(refused_by("x", "").kind, "No such tenant.")
        return named

    async with client_of(endpoint(tenant_of=tenant_of), "ann") as client:
        assert (await client.post("/red/message:send", json={"message": message()})).is_success
        answer = await client.post("/blue/message:send", json={"message": message()})
        assert answer.status_code == 403


async def test_a_task_in_the_path_and_another_in_the_body():
    plain, ours = plain_official(), endpoint()
    for app, name, expected in ((plain, "", 200), (ours, "ann", 400)):
        async with client_of(app, name) as client:
            task = await begin(client)
            path = f"/tasks/{task}:cancel"
            assert (await client.post(path, json={"id": "another"})).status_code == expected
    async with client_of(ours, "ann") as client:
        task = await begin(client)
        assert (await client.post(f"/tasks/{task}:cancel", json={"id": task})).status_code == 200
        answer = await client.get(f"/tasks/{task}", params={"historyLength": "1", "id": "other"})
        assert answer.status_code == 400


async def test_a_query_that_says_one_thing_twice():
    async with client_of(plain_official()) as client:
        assert (await client.get("/tasks?pageSize=1&pageSize=2")).status_code == 200
    async with client_of(endpoint(), "ann") as client:
        assert (await client.get("/tasks?pageSize=1&pageSize=2")).status_code == 400


async def test_a_header_that_stands_twice():
    lines = [
        ("a2a-version", "1.0"),
        ("authorization", "Bearer ann"),
        ("authorization", "Bearer bob"),
    ]
    async with client_of(endpoint()) as client:
        body = call("SendMessage", {"message": message()})
        assert "error" in (await client.post("/", json=body, headers=lines)).json()


async def test_words_of_one_version_under_the_header_of_another():
    async with client_of(endpoint(), "ann") as client:
        body = call("SendMessage", {"message": message()})
        for said in ("", "0.3", "2.0", "1.0.0.0", "1.x"):
            answer = await client.post("/", json=body, headers={"a2a-version": said})
            assert answer.json()["error"]["code"] == -32009, said
        old = call("message/send", {"message": {}})
        assert (await client.post("/", json=old)).json()["error"]["code"] == -32009


async def test_a_message_that_uses_an_extension_which_the_request_does_not_activate():
    uri = "urn:x:ext"
    body = call("SendMessage", {"message": message(extensions=[uri])})
    async with client_of(plain_official()) as client:
        assert "result" in (await client.post("/", json=body)).json()
    async with client_of(endpoint(declared=frozenset({uri})), "ann") as client:
        assert (await client.post("/", json=body)).json()["error"]["code"] == -32008
        good = await client.post("/", json=body, headers={"a2a-extensions": f"urn:y, {uri}"})
        assert "result" in good.json()


async def test_a_credential_that_is_not_valid_is_not_taken_for_none():
    async with client_of(endpoint(policy=Policy.open()), "nobody") as client:
        assert (await client.get("/tasks")).status_code == 401


async def test_every_method_of_every_http_binding_passes_the_chain():
    chain, agent = ClosedChain(), EchoAgent()
    app = endpoint(agent, chain=chain)
    params = {
        "SendMessage": {"message": message()},
        "SendStreamingMessage": {"message": message()},
        "CreateTaskPushNotificationConfig": {"taskId": "t", "url": "https://example.com"},
    }
    from hive_a2a.call import METHODS_OF_A2A

    async with client_of(app, "ann") as client:
        for method in METHODS_OF_A2A:
            answer = await client.post("/", json=call(method, params.get(method, {"id": "t"})))
            assert answer.json()["error"]["message"] == "Not today.", method
            assert "secret" not in answer.text
        assert [one.method for one in chain.calls] == list(METHODS_OF_A2A)
        chain.calls.clear()
        for verb, path in (
            ("POST", "/message:send"),
            ("POST", "/message:stream"),
            ("GET", "/tasks/t"),
            ("GET", "/tasks"),
            ("POST", "/tasks/t:cancel"),
            ("GET", "/tasks/t:subscribe"),
            ("POST", "/tasks/t:subscribe"),
            ("POST", "/tasks/t/pushNotificationConfigs"),
            ("GET", "/tasks/t/pushNotificationConfigs/c"),
            ("GET", "/tasks/t/pushNotificationConfigs"),
            ("DELETE", "/tasks/t/pushNotificationConfigs/c"),
            ("GET", "/extendedAgentCard"),
        ):
            body = {"message": message()} if path.startswith("/message") else {}
            content = {"json": body} if verb == "POST" else {}
            answer = await client.request(verb, path, **content)
            assert answer.status_code == 403, path
            assert answer.json()["error"]["message"] == "Not today."
        assert len(chain.calls) == 12
    assert agent.seen == []


async def test_the_old_protocol_passes_the_chain_too():
    chain, agent = ClosedChain(), EchoAgent()
    old = {
        "message": {
            "kind": "message",
            "messageId": "1",
            "role": "user",
            "parts": [{"kind": "text", "text": "hi"}],
        }
    }
    async with client_of(endpoint(agent, chain=chain), "ann") as client:
        said = {"a2a-version": "0.3"}
        answer = await client.post("/", json=call("message/send", old), headers=said)
        assert answer.json()["error"] == {**answer.json()["error"], "message": "Not today."}
        stream = await client.post("/", json=call("message/stream", old), headers=said)
        assert "result" not in stream.text
        get = await client.get("/v1/tasks/t", headers=said)
        assert get.status_code == 403
    assert [one.version for one in chain.calls] == ["0.3"] * 3
    assert agent.seen == []


async def ask_grpc(port: int, said=(), text="hello", **fields):
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        request = pb.SendMessageRequest(**fields)
        request.message.message_id, request.message.role = "m", pb.ROLE_USER
        request.message.parts.add(text=text)
        return await A2AServiceStub(channel).SendMessage(request, metadata=said)


async def test_grpc_does_not_go_around_authentication_and_chain():
    agent = EchoAgent()
    server = grpc.aio.server()
    add_A2AServiceServicer_to_server(GrpcHandler(official_handler(agent)), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    assert (await ask_grpc(port)).task.id  # the plain official one asks nobody
    await server.stop(0)
    assert len(agent.seen) == 1

    chain = ClosedChain()
    door = endpoint(agent, chain=chain)
    options = {"policy": Policy.secure(), "authenticators": [WordAuthenticator()]}
    async with serving_grpc(door.guarded, **options) as port:
        with pytest.raises(grpc.aio.AioRpcError) as unknown:
            await ask_grpc(port)
        assert unknown.value.code() is grpc.StatusCode.UNAUTHENTICATED
        assert ("www-authenticate", 'Bearer realm="a2a"') in list(unknown.value.trailing_metadata())
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await ask_grpc(port, ANN)
        assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
        assert refused.value.details() == "Not today."
    assert len(chain.calls) == 1
    assert len(agent.seen) == 1


async def test_grpc_has_the_limits_of_http():
    door = endpoint()
    policy = Policy(limits=WireLimits(body_bytes=2000))
    async with serving_grpc(
        door.guarded, policy=policy, authenticators=[WordAuthenticator()]
    ) as port:
        assert (await ask_grpc(port, ANN)).task.id
        with pytest.raises(grpc.aio.AioRpcError) as large:
            await ask_grpc(port, ANN, text="x" * 3000)
        assert large.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        endless = {"metadata": {"a": float("nan")}}
        with pytest.raises(grpc.aio.AioRpcError) as odd:
            await ask_grpc(port, ANN, **endless)
        assert odd.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        with pytest.raises(grpc.aio.AioRpcError) as version:
            await ask_grpc(port, (*ANN, ("a2a-version", "0.3")))
        assert version.value.code() is grpc.StatusCode.FAILED_PRECONDITION


async def test_a_guarded_handler_behind_a_door_that_asks_nobody_is_closed():
    agent = EchoAgent()
    guarded = endpoint(agent).guarded
    async with client_of(plain_guarded(guarded)) as client:
        answer = await client.post("/", json=call("SendMessage", {"message": message()}))
        assert answer.json()["error"]["code"] == -32603
    assert agent.seen == []


def plain_guarded(guarded):
    from hive_a2a.wire.official import official_routes

    return official_routes(guarded)


async def test_a_crash_tells_nothing_of_the_agent(caplog):
    caplog.set_level(logging.CRITICAL)
    body = call("SendMessage", {"message": message("break")})
    async with client_of(plain_official()) as client:
        assert "a secret of the agent" in (await client.post("/", json=body)).text
    async with client_of(endpoint(), "ann") as client:
        answer = await client.post("/", json=body)
        assert answer.json()["error"]["code"] == -32603
        assert "secret" not in answer.text


async def test_the_handler_is_told_who_calls_in_the_official_words():
    agent = EchoAgent()
    async with client_of(endpoint(agent), "ann") as client:
        params = {"message": message(metadata={"skillId": "echo"})}
        await client.post("/", json=call("SendMessage", params))
        contradicting = {**params, "metadata": {"skillId": "other"}}
        answer = await client.post("/", json=call("SendMessage", contradicting))
        assert answer.json()["error"]["code"] == -32602
    context = agent.seen[0].call_context
    assert context.user.user_name == "word:ann"
    assert context.state[CALL_KEY].skill == "echo"
    assert context.state[CALL_KEY].caller.name == "word:ann"
    assert len(agent.seen) == 1
