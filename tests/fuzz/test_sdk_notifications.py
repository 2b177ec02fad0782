"""Made-up notifications at a receiver that checks signatures: none is believed but the good one, none breaks it."""

import json

import pytest

from hive_a2a.cards.sign import SigningKey
from hive_a2a.push.sign import (
    SIGNATURE_HEADER,
    NotificationSigner,
    SeenInMemory,
    Unverified,
    verify_notification,
)
from tests.fuzz.mutator import fuzz

pytestmark = pytest.mark.fuzz
URL = "https://client.example/hook"


class NotBelievedError(Exception):
    pass


def test_no_made_up_notification_is_believed():
    key = SigningKey.make(kid="k")
    body = b'{"statusUpdate":{"taskId":"t"}}'
    token = NotificationSigner(key=key, issuer="https://agent").sign(URL, body)
    good = json.dumps({"token": token, "body": body.decode(), "jwks": {"keys": [key.public.jwk()]}})

    def receive(data):
        try:
            case = json.loads(data)
            sent, text, jwks = str(case["token"]), str(case["body"]), {"keys": [key.public.jwk()]}
            if isinstance(case.get("jwks"), dict) and case["token"] != token:
                keys = case["jwks"].get("keys")
                jwks = {"keys": keys if isinstance(keys, list) else []}
            raw = text.encode("utf-8", "surrogatepass")
        except (ValueError, KeyError, TypeError, RecursionError):
            raise NotBelievedError from None
        found = verify_notification(
            {SIGNATURE_HEADER: sent}, raw, jwks=jwks, url=URL, seen=SeenInMemory()
        )
        if isinstance(found, Unverified):
            raise NotBelievedError
        assert sent == token
        assert raw == body

    fuzz([good.encode()], receive, allowed=NotBelievedError)
