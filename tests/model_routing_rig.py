"""A router over made-up providers, without a node: what the tests of routing share."""

import contextlib
import json

from anyio import fail_after

from hive.core.clock import SystemClock
from hive.core.randomness import SystemRandomness
from hive.core.secret import Secret
from hive.protocols.models import UPSTREAMS, Dialect, ModelRequest
from hive.protocols.models.routing import ModelRouter, RouteRow, UpstreamOptions, UpstreamRow

KEY = "sk-real-key-of-the-operator"


def opener(clock, key=""):
    def open_one(row):
        wires = f"?wires={row.options.wires}" if row.options.wires else ""
        return UPSTREAMS.load(row.url).open(
            row.url + wires, key=Secret(key), clock=clock, timeout_s=row.options.connect_s
        )

    return open_one


@contextlib.asynccontextmanager
async def routing(*rows, routes=(), key="", clock=None, trusted=True):
    clock = clock or SystemClock()
    router = ModelRouter(open_one=opener(clock, key), clock=clock, randomness=SystemRandomness())
    with fail_after(30):
        async with router.running():
            for row in rows:
                await router.add(row, trusted=trusted)
            router.use(routes)
            yield router


def upstream(name, url, **options):
    return UpstreamRow(name=name, url=url, options=UpstreamOptions(**options))


def route(alias, *targets):
    return RouteRow(alias=alias, targets=targets)


def chat(model, *, stream=False, dialect=Dialect.CHAT, **more):
    document = {"model": model, "messages": [{"role": "user", "content": "hi"}], **more}
    if stream:
        document["stream"] = True
    return ModelRequest(
        dialect=dialect,
        model=model,
        stream=stream,
        body=json.dumps(document).encode(),
        document=document,
        headers=(("content-type", "application/json"),),
    )


async def said(router, request):
    """Return status, body and who answered."""
    async with router.ask(request) as answer:
        body = b"".join([chunk async for chunk in answer.chunks()])
    return answer.head.status, body, answer
