"""The official context of a request that comes through the official routes."""

# First: the official client and server import each other, and the client that comes second quietly
# does without gRPC of 0.3.
import a2a.client  # noqa: F401
from a2a.server.context import ServerCallContext
from a2a.server.routes.common import ServerCallContextBuilder
from starlette.requests import Request

from hive_a2a.wire.request import REQUEST_KEY, WireRequest, context_of


class RequestContextBuilder(ServerCallContextBuilder):
    """Hands on the request that the endpoint identified."""

    def build(self, request: Request) -> ServerCallContext:
        """Build the official context."""
        found: WireRequest = request.scope[REQUEST_KEY]
        return context_of(found, "")
