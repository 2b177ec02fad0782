"""Made-up requests at the doors of the endpoint: the standard's errors come out, and nothing breaks."""

import json

import anyio
import pytest
from a2a.types import a2a_pb2 as pb
from a2a.utils.errors import TaskNotFoundError

from hive_a2a.faults import WireFault
from hive_a2a.wire.proto_in import to_proto
from hive_a2a.wire.proto_out import to_json
from hive_a2a.wire.rest import resource_of
from hive_a2a.wire.strict_json import read_json
from tests.fuzz.mutator import fuzz
from tests.wire_rig import call, endpoint, official_handler

pytestmark = pytest.mark.fuzz
MESSAGE = {
    "messageId": "m",
    "role": "ROLE_USER",
    "contextId": "c",
    "parts": [
        {"text": "a", "metadata": {"a": [1, None, {"b": 0.5}]}},
        {"raw": "aGk=", "mediaType": "text/plain", "filename": "x"},
        {"data": {"a": [True]}},
        {"url": "https://x"},
    ],
    "metadata": {"skillId": "s"},
    "extensions": ["urn:x"],
}
SEND = {
    "message": MESSAGE,
    "configuration": {"historyLength": 1, "acceptedOutputModes": ["text"]},
    "tenant": "t",
}
BODIES = [
    json.dumps(call("SendMessage", SEND)).encode(),
    json.dumps(call("ListTasks", {"pageSize": 5, "status": "TASK_STATE_WORKING"})).encode(),
    json.dumps(call("GetTask", {"id": "t", "historyLength": 2})).encode(),
]


class StillHandler(type(official_handler())):
    """Answers nothing but that no task is here."""

    def __init__(self):
        pass

    async def on_message_send(self, params, context):
        return params.message

    async def on_get_task(self, params, context):
        raise TaskNotFoundError

    async def on_list_tasks(self, params, context):
        return pb.ListTasksResponse()


class NoResultError(Exception):
    pass


def test_json_and_protobuf():
    def read(data):
        value = read_json(data)
        params = value.get("params") if isinstance(value, dict) else value
        json.dumps(to_json(to_proto(params, pb.SendMessageRequest)))

    fuzz(BODIES[:1], read, allowed=WireFault)


def test_resources():
    def read(data):
        verb, _, path = data.decode("latin-1").partition(" ")
        resource_of(verb, path)

    good = [b"GET /tasks/t", b"POST /red/tasks/t:cancel", b"GET /tasks/t/pushNotificationConfigs/c"]
    fuzz(good, read, allowed=WireFault)


def ask(method: str, path: str, query: bytes, body: bytes) -> tuple[int, bytes]:
    """Ask an endpoint in an event loop of its own."""

    async def run():
        said = []
        given = [{"type": "http.request", "body": body}]

        async def receive():
            if not given:
                await anyio.sleep_forever()
            return given.pop()

        async def send(event):
            said.append(event)

        headers = [
            (b"content-type", b"application/json"),
            (b"a2a-version", b"1.0"),
            (b"authorization", b"Bearer ann"),
        ]
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": query,
            "headers": headers,
        }
        await APP(scope, receive, send)
        assert all(event["type"].startswith("http.response") for event in said)
        return said[0]["status"], b"".join(event.get("body", b"") for event in said)

    return anyio.run(run)


APP = endpoint(handler=StillHandler())


def test_json_rpc():
    def receive(data):
        status, body = ask("POST", "/", b"", data)
        answer = json.loads(body)
        assert answer["jsonrpc"] == "2.0"
        assert answer.get("error", {}).get("code") != -32603, answer
        if "error" in answer:
            raise NoResultError
        assert status == 200

    fuzz(BODIES, receive, allowed=NoResultError)


def test_rest_queries():
    def receive(data):
        status, body = ask("GET", "/tasks", data, b"")
        assert status in (200, 400), body
        if status == 400:
            raise NoResultError

    good = [b"pageSize=5&status=TASK_STATE_WORKING&includeArtifacts=true", b"contextId=%41&x=%ff"]
    fuzz(good, receive, allowed=NoResultError)
