"""`hive-a2a call`: send a message to an agent and print what it answers."""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import click

from hive_a2a.command.tell import (
    EXIT_FAILED,
    CommandOptions,
    common_options,
    one_line,
    plain,
    run_async,
    say,
    show,
    show_json,
)
from hive_a2a.errors import A2AError

if TYPE_CHECKING:
    import httpx

_GOOD: Final = frozenset(
    {
        "TASK_STATE_COMPLETED",
        "TASK_STATE_INPUT_REQUIRED",
        "TASK_STATE_SUBMITTED",
        "TASK_STATE_WORKING",
    }
)


@click.command(
    help="Send a message to an agent and print its answer.\n\n"
    "The card is verified first: whoever signed it when the agent was first met is remembered, and another "
    "signer refused. `--policy open` also takes unsigned cards and plain http beyond this machine.\n\n"
    "Exit code 1 where the task failed, was refused or cancelled.",
    epilog="Example:  hive-a2a call https://agent.example.com 'What is new?' --stream",
)
@click.argument("url")
@click.argument("text", required=False, default="")
@click.option("--data", metavar="JSON", help="Send structured data too.")
@click.option("--skill", metavar="ID", help="Name the skill that is meant.")
@click.option("--context", "context_id", metavar="ID", help="Go on in this context.")
@click.option("--task", "task_id", metavar="ID", help="Go on with this task.")
@click.option("--tenant", metavar="ID", help="Of this tenant.")
@click.option("--stream", is_flag=True, help="Print as it comes.")
@click.option("--token", envvar="HIVE_A2A_TOKEN", help="Bearer token (better: $HIVE_A2A_TOKEN).")
@click.option(
    "--policy", type=click.Choice(["secure", "open"]), default="secure", show_default=True
)
@click.option(
    "--binding",
    type=click.Choice(["JSONRPC", "HTTP+JSON", "GRPC"]),
    multiple=True,
    help="Use this binding; twice for a preference.",
)
@click.option("--keys", "folder", type=click.Path(file_okay=False), help="Own keys from a folder.")
@common_options
def call(*, options: CommandOptions, url: str, text: str, data: str | None, **given: Any) -> int:  # noqa: ANN401
    """Call an agent."""
    if not text and data is None:
        raise click.UsageError("Say something: a text, or --data JSON.")
    value = _value(data)

    told = Telling(options)
    run_async(lambda: _sent(told, url, text, value, has_data=data is not None, **given))
    state = told.state
    if state and state not in _GOOD:
        say(options, f"The task ended as {state.removeprefix('TASK_STATE_').lower()}.")
        return EXIT_FAILED
    return 0


class Telling:
    """Prints events as they come; `state` is the last one that the task was in."""

    def __init__(self, options: CommandOptions) -> None:
        self.options = options
        self.state = ""
        self._task = ""

    def hear(self, event: Any) -> None:  # noqa: ANN401 - a protobuf StreamResponse
        """Print an event."""
        from google.protobuf.json_format import MessageToDict

        kind = event.WhichOneof("payload")
        value = getattr(event, kind) if kind else event
        if self.options.json:
            show_json(MessageToDict(event))
        elif kind == "message":
            self._show(value.parts)
        elif kind == "artifact_update":
            self._show(value.artifact.parts)
        elif kind == "task":
            for artifact in value.artifacts:
                self._show(artifact.parts)
        if kind in ("task", "status_update"):
            self._note(value, kind)

    def _note(self, value: Any, kind: str) -> None:  # noqa: ANN401
        from a2a.types.a2a_pb2 import TaskState

        number = value.id if kind == "task" else value.task_id
        if number != self._task:
            self._task = number
            say(
                self.options,
                f"task {one_line(number, 80)}  context {one_line(value.context_id, 80)}",
            )
        if not self.options.json:
            self._show(value.status.message.parts)
        self.state = str(TaskState.Name(value.status.state))

    def _show(self, parts: Any) -> None:  # noqa: ANN401
        for line in part_lines(parts):
            show(line)


def part_lines(parts: Any) -> Iterator[str]:  # noqa: ANN401 - protobuf parts
    """Yield the parts of a message as text; bytes are named, not printed."""
    from google.protobuf.json_format import MessageToDict

    for part in parts:
        kind = part.WhichOneof("content")
        if kind == "text":
            yield plain(part.text, keep="\n\t")
        elif kind == "data":
            yield plain(json.dumps(MessageToDict(part.data), ensure_ascii=False))
        elif kind == "url":
            yield one_line(f"{part.filename or 'file'}: {part.url}")
        elif kind == "raw":
            name = part.filename or "file"
            yield one_line(f"{name}: {len(part.raw)} bytes {part.media_type}".rstrip())


async def _sent(told: Telling, *words: Any, **given: Any) -> None:  # noqa: ANN401 - those of `_send`
    from hive_a2a.cards.errors import CardError, CardFault

    try:
        await _send(told, *words, **given)
    except CardError as error:
        if error.fault in (CardFault.UNSIGNED, CardFault.PLAIN_HTTP):
            error.fix = "Ask its owner to sign it and to use https, or call it with --policy open."
        raise


async def _send(
    told: Telling,
    url: str,
    text: str,
    value: object,
    *,
    has_data: bool,
    stream: bool,
    token: str | None,
    policy: str,
    binding: tuple[str, ...],
    folder: str | None,
    **named: str | None,
) -> None:
    from dataclasses import replace
    from pathlib import Path

    from hive_a2a.client import SecureA2AClient
    from hive_a2a.command.keys import keys_in
    from hive_a2a.policy import ClientPolicy

    chosen = ClientPolicy.open() if policy == "open" else ClientPolicy.secure()

    def on_plain(address: str, reason: str) -> None:
        say(told.options, f"Sent in the clear to {address}: {reason}")

    connecting = SecureA2AClient.connect(
        url,
        policy=replace(chosen, streaming=stream),
        keys=keys_in(Path(folder)) if folder else None,
        auth=_bearer(token, url),
        bindings=binding or ("JSONRPC", "HTTP+JSON"),
        on_plain=on_plain,
    )
    async with connecting as client:
        async for event in client.send_message(_request(text, value, has_data=has_data, **named)):
            told.hear(event)


def _bearer(token: str | None, url: str) -> "httpx.Auth | None":
    if not token:
        return None
    from hive_a2a.identity.credentials import BearerToken

    return BearerToken(token, url)


def _request(
    text: str,
    value: object,
    *,
    has_data: bool,
    skill: str | None,
    context_id: str | None,
    task_id: str | None,
    tenant: str | None,
) -> Any:  # noqa: ANN401 - a protobuf request
    import secrets

    from a2a.types.a2a_pb2 import Message, Part, Role, SendMessageRequest
    from google.protobuf.json_format import ParseDict

    from hive_a2a.wire.guarded import SKILL_KEY

    message = Message(
        message_id=secrets.token_hex(16),
        role=Role.ROLE_USER,
        context_id=context_id or "",
        task_id=task_id or "",
    )
    if text:
        message.parts.add().text = text
    if has_data:
        message.parts.append(ParseDict({"data": value}, Part()))
    if skill:
        message.metadata.update({SKILL_KEY: skill})
    return SendMessageRequest(message=message, tenant=tenant or "")


def _value(data: str | None) -> object:
    if data is None:
        return None
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise A2AError("--data is not JSON.", why=str(error)) from error
