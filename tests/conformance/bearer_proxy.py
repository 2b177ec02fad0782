"""A door before a node for suites that carry no token: it adds the operator's and passes everything on."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import httpx
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from hive.testing.loopback import serve_app

_HOP: Final = frozenset({"content-length", "transfer-encoding", "connection"})


@asynccontextmanager
async def bearer_proxy(node: str, token: str) -> AsyncIterator[str]:
    """Serve what a node serves on a port of its own, with a token; give the URL."""
    async with httpx.AsyncClient(base_url=node, trust_env=False, timeout=120) as client:

        async def passed(scope: Scope, receive: Receive, send: Send) -> None:
            asked = Request(scope, receive)
            shown = asked.headers.items()
            headers = [(key, text.strip()) for key, text in shown if key not in _HOP]
            headers.append(("authorization", f"Bearer {token}"))
            made = client.build_request(
                asked.method, asked.url.path, headers=headers, content=await asked.body()
            )
            answer = await client.send(made, stream=True)
            told = {key: text for key, text in answer.headers.items() if key not in _HOP}
            reply: Response = StreamingResponse(
                answer.aiter_raw(), status_code=answer.status_code, headers=told
            )
            try:
                await reply(scope, receive, send)
            finally:
                await answer.aclose()

        async with serve_app(passed) as url:
            yield url
