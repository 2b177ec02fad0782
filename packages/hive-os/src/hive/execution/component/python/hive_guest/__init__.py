"""What an agent imports inside a component: the names of `hive_guest`, on the imports of its world."""

import json

from wit_world.imports import agents as _agents
from wit_world.imports import http as _http
from wit_world.imports import log as _log
from wit_world.imports import models as _models
from wit_world.imports import reply as _reply


class AgentCallError(Exception):
    """Another agent could not be asked, refused, or failed."""


class ModelCallError(Exception):
    """A model could not be asked."""


class FetchError(Exception):
    """A host could not be asked."""


class NeedInput(BaseException):
    """Ends the turn with a question."""

    def __init__(self, question):
        super().__init__(question)
        self.question = question


_now = None


def turn():
    """Return what this turn is: `id`, `task`, `context`, `text`, `message`, `history`."""
    if _now is None:
        raise RuntimeError("no turn runs now")
    return _now


def set_turn(now):
    """Say what this turn is."""
    global _now
    _now = now


def ask_input(question):
    """End the turn with a question; the answer is the next message of the task."""
    raise NeedInput(str(question))


def log(text, *, level="info"):
    """Write to the agent's log."""
    levels = {"debug": "DEBUG", "info": "INFO", "warning": "WARNING", "error": "ERROR"}
    _log.write(getattr(_log.Level, levels.get(level, "INFO")), str(text))


def chunk(text):
    """Stream a piece of the answer."""
    _reply.chunk(str(text))


def call(agent, text, *, timeout_s=None):
    """Ask another agent and return its answer."""
    return _done(lambda: _agents.ask(agent, text), AgentCallError)


def ask(messages, *, model="default", **more):
    """Ask a model (OpenAI's chat completions) and return the text of its answer."""
    said = [{"role": "user", "content": messages}] if isinstance(messages, str) else messages
    request = json.dumps({"model": model, "messages": said, **more})
    answer = json.loads(_done(lambda: _models.ask(request), ModelCallError))
    return answer["choices"][0]["message"]["content"]


def fetch(url, *, method="GET", headers=None, body=b""):
    """Ask a host; return status, headers and body. The agent's grant has to name the host."""
    fields = [_http.Header(name, value) for name, value in (headers or {}).items()]
    data = body.encode() if isinstance(body, str) else body
    answer = _done(lambda: _http.send(_http.Request(method, url, fields, data)), FetchError)
    return answer.status, {one.name: one.value for one in answer.headers}, answer.body


def _done(deed, error):
    from componentize_py_types import Err

    try:
        return deed()
    except Err as failed:
        raise error(f"{failed.value.text} ({failed.value.code})") from None
