"""Keeps values, and tries to keep, read or move more than it may."""

import http.client
import json
import os
import threading

from hive_guest import values
from hive_guest.api import gate_address


def asked(method, path, body=b"", **headers):
    connection = http.client.HTTPConnection(*gate_address(), timeout=20)
    sent = {"authorization": f"Bearer {os.environ['HIVE_HANDLE']}", **headers}
    try:
        connection.putrequest(method, path, skip_accept_encoding=True)
        for name, value in {**sent, "content-length": str(len(body))}.items():
            connection.putheader(name, value)
        connection.endheaders(body or None)
        answer = connection.getresponse()
        return answer.status, answer.read(1000).decode("utf-8", "replace")
    finally:
        connection.close()


def keep(text):
    """Tell what is there, then keep what was said."""
    before = values.get("note")
    values.put("note", text)
    return json.dumps([None if before is None else before.decode(), values.keys()])


def climb(text):
    """Try paths, names and sizes that no value has."""
    del text
    found = {}
    for path in (
        "/own/values/..%2F..%2Fnote",
        "/own/values/../values/note",
        "/own/values/%00",
        "/own/values/%ff",
        f"/own/values/{'k' * 257}",
        "/own/values/a/b",
        "/own/elsewhere",
    ):
        found[path[:40]] = asked("PUT", path, b"x")[0]
    found["large"] = asked("PUT", "/own/values/large", b"x" * ((256 << 10) + 1))[0]
    found["keys"] = values.keys()
    return json.dumps(found)


def hoard(text):
    """Fill a shelf from several threads at once."""
    del text
    refused = []

    def fill(thread):
        for number in range(12):
            try:
                values.put(f"{thread}-{number}", b"x" * (256 << 10))
            except values.KeptValueError as error:
                refused.append(str(error))

    threads = [threading.Thread(target=fill, args=(one,)) for one in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    return json.dumps([len(values.keys()), len(refused), refused[:1]])


def move(text):
    """Ask for a stronger tier, plainly and with bodies that are none."""
    del text
    bodies = [b'{"what":"kernel"}', b'{"what":"wings"}', b"[]", b"{", b'{"what":1}', b"x" * 5000]
    return json.dumps([asked("POST", "/own/tier", body) for body in bodies])


def later(text):
    """Go on after the turn has ended."""
    seen = values.get("late")

    def after():
        import time

        for _ in range(50):
            time.sleep(0.1)
            asked("PUT", "/own/values/late", b"after the turn")

    threading.Thread(target=after, daemon=True).start()
    del text
    return (seen or b"nothing").decode()
