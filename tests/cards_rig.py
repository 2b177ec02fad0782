"""A card with a member of every kind, and peers that serve whatever they are told to."""

import json
from datetime import UTC, datetime, timedelta

import httpx
from a2a.types import AgentCard
from google.protobuf.json_format import MessageToDict, ParseDict

from hive_a2a.cards.errors import CardError
from hive_a2a.cards.resolve import CARD_PATH

PEER = f"https://agent.example{CARD_PATH}"
WHOLE = {
    "name": "Ärger 😀",
    "description": "Reads\nand writes.",
    "version": "1.2.0",
    "supportedInterfaces": [
        {"url": "https://agent.example/a", "protocolBinding": "JSONRPC", "protocolVersion": "1.0"},
        {
            "url": "https://agent.example/r",
            "protocolBinding": "HTTP+JSON",
            "protocolVersion": "1.0",
            "tenant": "blue",
        },
    ],
    "provider": {"url": "https://owner.example", "organization": "Owner"},
    "iconUrl": "https://agent.example/i.png",
    "documentationUrl": "https://agent.example/docs",
    "capabilities": {
        "streaming": True,
        "pushNotifications": False,
        "extendedAgentCard": True,
        "extensions": [
            {
                "uri": "urn:example:odd",
                "description": "Odd values.",
                "required": True,
                "params": {
                    "n": 1.5,
                    "big": 1e15,
                    "no": False,
                    "nothing": None,
                    "list": ["a", "", None, 0],
                    "deep": {"\ufb33": "dalet", "😀": "face", "": "empty key"},
                },
            }
        ],
    },
    "securitySchemes": {
        "bearer": {"httpAuthSecurityScheme": {"scheme": "Bearer", "bearerFormat": "JWT"}},
        "key": {"apiKeySecurityScheme": {"location": "header", "name": "x-key"}},
        "mtls": {"mtlsSecurityScheme": {}},
        "oauth": {
            "oauth2SecurityScheme": {
                "flows": {
                    "clientCredentials": {
                        "tokenUrl": "https://login.example/token",
                        "scopes": {"read": "May read."},
                    }
                }
            }
        },
    },
    "securityRequirements": [
        {"schemes": {"bearer": {}}},
        {"schemes": {"oauth": {"list": ["read"]}, "mtls": {}}},
    ],
    "defaultInputModes": ["text/plain"],
    "defaultOutputModes": ["text/plain", "application/json"],
    "skills": [
        {
            "id": "s",
            "name": "Skill",
            "description": "Does it.",
            "tags": ["t"],
            "examples": ["Do it."],
            "securityRequirements": [{"schemes": {"key": {}}}],
        }
    ],
}


def whole_card(**changes):
    return ParseDict({**WHOLE, **changes}, AgentCard())


def as_dict(card):
    return MessageToDict(card)


def from_dict(members):
    return ParseDict(members, AgentCard())


def refusal(error_info):
    """Return the one word of a refusal, whose text must say why."""
    error = error_info.value
    assert isinstance(error, CardError)
    assert error.why
    return error.fault


class SetClock:
    """Tells the time that it was told."""

    def __init__(self, now=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)):
        self.time = now

    def now(self):
        return self.time

    def monotonic(self):
        return self.time.timestamp()

    def later(self, seconds):
        self.time += timedelta(seconds=seconds)


def serving(pages):
    """Return a client of a small web: address to (status, headers, body), body, or a function of the request."""
    asked = []

    def answer(request):
        asked.append(str(request.url))
        page = pages.get(str(request.url))
        if callable(page):
            page = page(request)
        if page is None:
            return httpx.Response(404)
        if isinstance(page, dict):
            page = json.dumps(page).encode()
        if isinstance(page, bytes):
            page = (200, {}, page)
        status, headers, body = page
        return httpx.Response(status, headers=headers, content=body)

    client = httpx.AsyncClient(transport=httpx.MockTransport(answer))
    return client, asked
