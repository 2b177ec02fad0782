"""Somebody at a browser who says yes, and the official package's client that sends him there."""

import re
from urllib.parse import parse_qsl, urlsplit

import httpx
import httpx2
from mcp import Client
from mcp.client.auth import OAuthClientProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import AuthorizationCodeResult, OAuthClientMetadata

BACK = "http://127.0.0.1:1/back"


def say_yes(url, token, **form):
    """Open the page that a program sends its user to, and allow it; return where the browser is sent then."""
    query = urlsplit(url).query
    with httpx.Client(base_url=_origin(url), trust_env=False, timeout=30) as browser:
        begun = browser.get(url)
        if begun.status_code != 200:
            return begun.headers["location"]
        page = browser.get(f"/oauth/consent?{query}")
        word = re.search(r'name="word" value="([0-9a-f]+)"', page.text)[1]
        scopes = dict.fromkeys(re.findall(r'name="(scope-[a-z]+)"', page.text), "1")
        fields = {"word": word, "decision": "yes", "token": token, **scopes, **form}
        answer = browser.post(f"/oauth/consent?{query}", data=fields)
        assert answer.status_code == 303, answer.text
        return answer.headers["location"]


def fields_of_url(url):
    return dict(parse_qsl(urlsplit(url).query))


class KeptTokens:
    """What the official client keeps of a login."""

    def __init__(self):
        self.tokens = self.client = None

    async def get_tokens(self):
        return self.tokens

    async def set_tokens(self, tokens):
        self.tokens = tokens

    async def get_client_info(self):
        return self.client

    async def set_client_info(self, client):
        self.client = client


class SdkVisitor:
    """The official client with its login at one endpoint; `decide` plays the browser."""

    def __init__(self, url, decide, *, kept=None):
        self.url, self.decide = url, decide
        self.kept = kept or KeptTokens()
        self.sent_away = 0
        self._back = {}

    async def use(self, ask):
        login = OAuthClientProvider(
            server_url=self.url,
            client_metadata=OAuthClientMetadata(
                client_name="App", redirect_uris=[BACK], token_endpoint_auth_method="none"
            ),
            storage=self.kept,
            redirect_handler=self._sent,
            callback_handler=self._returned,
        )
        async with (
            httpx2.AsyncClient(auth=login, timeout=60) as http,
            Client(streamable_http_client(self.url, http_client=http)) as client,
        ):
            return await ask(client)

    async def _sent(self, url):
        self.sent_away += 1
        self._back = fields_of_url(self.decide(url))

    async def _returned(self):
        back = self._back
        return AuthorizationCodeResult(
            code=back.get("code", ""), state=back.get("state"), iss=back.get("iss")
        )


def _origin(url):
    return "{0.scheme}://{0.netloc}".format(urlsplit(url))
