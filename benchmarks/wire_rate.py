"""What the way from bytes to a handler and back costs, beside the official routes: the handler does nothing."""

import json
import time
from typing import Any, Final

import anyio
from a2a.server.context import ServerCallContext
from a2a.server.request_handlers.request_handler import RequestHandler
from a2a.types import a2a_pb2 as pb

from hive_a2a.asgi import AsgiApp, Event
from hive_a2a.policy import Policy
from hive_a2a.wire.endpoint import WireEndpoint
from hive_a2a.wire.official import official_routes

NAME: Final = "wire_rate"
SUMMARY: Final = "CPU of one SendMessage from bytes to a handler that does nothing and back"
UNIT: Final = "us"
CALLS: Final = 4000
PEER_CALLS: Final = 2000
ROUNDS: Final = 3
BODY: Final = json.dumps(
    {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "SendMessage",
        "params": {
            "message": {
                "messageId": "4cc0e5ea-7a5a-4c0f-9c3d-6f1f1f0f4a11",
                "role": "ROLE_USER",
                "parts": [{"text": "What is the weather like?"}],
                "metadata": {"skillId": "weather"},
            },
            "configuration": {"acceptedOutputModes": ["text/plain"]},
        },
    }
).encode()
TASK: Final = pb.Task(
    id="9dda5a7f-1641-4ac5-88f5-aafd47ff4742",
    context_id="4b97a268-10dd-466e-af0a-38b7c2c420b4",
    status=pb.TaskStatus(state=pb.TASK_STATE_COMPLETED),
    artifacts=[pb.Artifact(artifact_id="a", parts=[pb.Part(text="It is raining.")])],
)


async def _nothing(_self: object, _params: Any, _context: ServerCallContext) -> pb.Task:
    return TASK


StillAgent: Final = type(
    "StillAgent",
    (RequestHandler,),
    dict.fromkeys(RequestHandler.__abstractmethods__, _nothing),
)


def run() -> dict[str, Any]:
    """Measure both in turns; the best round of each counts, as both only lose by what else runs."""
    handler = StillAgent()
    ours, theirs = [], []
    for _ in range(ROUNDS):
        app = WireEndpoint(handler, policy=Policy.open())
        ours.append(anyio.run(_cost_us, app, CALLS))
        theirs.append(anyio.run(_cost_us, official_routes(handler), PEER_CALLS))
    return {
        "value": min(ours),
        "peer": min(theirs),
        "peer_is": "the official JSON-RPC route, which bounds and checks nothing",
        "details": {"rounds": ours, "peer_rounds": theirs},
    }


async def _cost_us(app: AsgiApp, calls: int) -> float:
    headers = [
        (b"host", b"127.0.0.1:8000"),
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(BODY)),
        (b"a2a-version", b"1.0"),
        (b"user-agent", b"benchmark"),
        (b"accept", b"*/*"),
    ]
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/",
        "raw_path": b"/",
        "query_string": b"",
        "root_path": "",
        "scheme": "http",
        "client": ("127.0.0.1", 5),
        "headers": headers,
    }
    statuses: list[int] = []

    async def receive() -> Event:
        return {"type": "http.request", "body": BODY, "more_body": False}

    async def send(event: Event) -> None:
        if "status" in event:
            statuses.append(event["status"])

    await app(dict(scope), receive, send)
    began = time.process_time()
    for _ in range(calls):
        await app(dict(scope), receive, send)
    spent = time.process_time() - began
    if statuses != [200] * (calls + 1):
        raise RuntimeError("The benchmark measures failures.")
    return spent / calls * 1e6
