"""A node's OAuth door as a browser, a client and an attacker meet it, on a real database."""

import base64
import hashlib
import json
import re
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx

from hive.core.randomness import SystemRandomness
from hive.protocols.mcp.oauth.door import OAuthDoor
from hive.protocols.mcp.oauth.fetch import FetchReply, Reach, ScreenedFetch
from hive.testing.clock import StoppedClock

ORIGIN = "https://node.example"
CLIENT = "https://app.example/client.json"
BACK = "https://app.example/back"
RESOURCE = f"{ORIGIN}/mcp/tools"
VERIFIER = "v" * 64
OPERATOR = "the-operators-token"


def description(client=CLIENT, **changes):
    return {"client_id": client, "client_name": "App", "redirect_uris": [BACK], **changes}


def s256(verifier=VERIFIER):
    digest = hashlib.sha256(verifier.encode()).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


class PaperFetch(ScreenedFetch):
    """Documents of others, without a network; what is not there answers 404."""

    def __init__(self, documents):
        super().__init__()
        self.documents = documents
        self.asked = []

    async def reach_of(self, url):
        return Reach()

    async def ask(self, method, url, *, reach, headers=None, form=None, body=b"", limit_bytes=0):
        self.asked.append((method, url, dict(form or {}), dict(headers or {})))
        found = self.documents.get(url)
        if callable(found):
            found = found(form)
        if isinstance(found, FetchReply):
            return found
        return FetchReply(404 if found is None else 200, {}, json.dumps(found).encode())


class OauthSite:
    """One node, and one browser that keeps its cookies."""

    def __init__(self, database, *, login=None, issuers=(), registration=False, documents=None):
        self.clock = StoppedClock()
        self.notes = []
        self.fetch = PaperFetch({CLIENT: description()} if documents is None else documents)
        self.door = OAuthDoor(
            database=database,
            clock=self.clock,
            randomness=SystemRandomness(),
            origin=lambda: ORIGIN,
            is_operator=self._is_operator,
            login=login,
            issuers=issuers,
            registration=registration,
            fetch=self.fetch,
            note=self._note,
        )
        self.browser = self.new_browser()

    def new_browser(self, address="127.0.0.1"):
        transport = httpx.ASGITransport(self.door, client=(address, 4711))
        return httpx.AsyncClient(transport=transport, base_url=ORIGIN)

    async def _note(self, name, body):
        self.notes.append((name, body))

    async def _is_operator(self, token):
        return token == OPERATOR

    def query(self, **changes):
        fields = {
            "response_type": "code",
            "client_id": CLIENT,
            "redirect_uri": BACK,
            "resource": RESOURCE,
            "scope": "tools",
            "state": "s1",
            "code_challenge": s256(),
            "code_challenge_method": "S256",
            **changes,
        }
        return urlencode({name: value for name, value in fields.items() if value is not None})

    async def page(self, query, browser=None):
        browser = browser or self.browser
        begun = await browser.get(f"/oauth/authorize?{query}")
        if begun.status_code != 200:
            return begun
        return await browser.get(f"/oauth/consent?{query}")

    async def decide(self, query, *, browser=None, **form):
        page = await self.page(query, browser)
        found = re.search(r'name="word" value="([0-9a-f]+)"', page.text)
        word = found[1] if found else ""
        fields = {
            "word": word,
            "decision": "yes",
            "token": OPERATOR,
            **{f"scope-{one}": "1" for one in ("tools", "agents", "observe", "operate")},
            **form,
        }
        return await (browser or self.browser).post(f"/oauth/consent?{query}", data=fields)

    async def code(self, **changes):
        answer = await self.decide(self.query(**changes))
        return fields_in(answer)["code"]

    async def trade(self, code, *, headers=None, **changes):
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "client_id": CLIENT,
            "redirect_uri": BACK,
            "code_verifier": VERIFIER,
            "resource": RESOURCE,
            **changes,
        }
        return await self.browser.post("/oauth/token", data=form, headers=headers)

    async def refresh(self, token, *, headers=None, **changes):
        form = {"grant_type": "refresh_token", "refresh_token": token, "client_id": CLIENT}
        return await self.browser.post("/oauth/token", data={**form, **changes}, headers=headers)

    async def tokens(self, **changes):
        return (await self.trade(await self.code(**changes), **_of_trade(changes))).json()

    async def knock(self, token, path="/mcp/tools", *, word="Bearer", method="POST", **headers):
        shown = {"authorization": f"{word} {token}", **headers}
        return await self.door.recognise({"path": path, "method": method}, shown)


def fields_in(answer):
    return dict(parse_qsl(urlsplit(answer.headers["location"]).query))


def _of_trade(changes):
    return {name: changes[name] for name in ("resource", "client_id") if name in changes}
