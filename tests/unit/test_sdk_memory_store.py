"""`MemoryTaskStore` answers as the official store does, and is bounded; the check of required fields, too."""

from typing import Any

import pytest
from a2a.auth.user import User
from a2a.server.context import ServerCallContext
from a2a.server.tasks import InMemoryTaskStore
from a2a.types.a2a_pb2 import (
    AgentCard,
    GetTaskRequest,
    ListTasksRequest,
    SendMessageRequest,
    Task,
    TaskState,
    TaskStatus,
)
from a2a.utils.errors import InvalidParamsError
from a2a.utils.proto_utils import validate_proto_required_fields
from a2a.utils.task import encode_page_token
from google.protobuf.json_format import ParseDict
from hypothesis import given, settings
from hypothesis import strategies as st

from hive_a2a.handler import MemoryTaskStore
from hive_a2a.handler.required import check_required

pytestmark = pytest.mark.anyio


class NamedUser(User):
    """A user who is called something."""

    def __init__(self, name: str) -> None:
        self._name = name

    @property
    def is_authenticated(self) -> bool:
        return True

    @property
    def user_name(self) -> str:
        return self._name


def of(name: str) -> ServerCallContext:
    return ServerCallContext(user=NamedUser(name))


OWNERS = {name: of(name) for name in "ab"}
SECONDS = st.none() | st.integers(0, 3)
TASKS = st.builds(
    lambda name, context, state, seconds: (name, context, state, seconds),
    st.sampled_from("pqrst"),
    st.sampled_from("xy"),
    st.sampled_from((1, 2, 3)),
    SECONDS,
)
STEPS = st.one_of(
    st.tuples(st.just("save"), st.sampled_from("ab"), TASKS),
    st.tuples(st.just("delete"), st.sampled_from("ab"), st.sampled_from("pqrst")),
)
ASKED = st.fixed_dictionaries(
    {},
    optional={
        "context_id": st.sampled_from("xy"),
        "status": st.sampled_from((1, 2)),
        "page_size": st.integers(1, 3),
        "seconds": st.integers(0, 3),
        "legacy": st.sampled_from("pqz"),
    },
)


def made(name: str, context: str, state: Any, seconds: int | None) -> Task:
    task = Task(id=name, context_id=context, status=TaskStatus(state=state))
    if seconds is not None:
        task.status.timestamp.FromSeconds(seconds)
    return task


async def pages(store: Any, owner: str, asked: dict[str, Any]) -> list[Any]:
    request = ListTasksRequest(**{k: v for k, v in asked.items() if k not in ("seconds", "legacy")})
    if "seconds" in asked:
        request.status_timestamp_after.FromSeconds(asked["seconds"])
    if "legacy" in asked:
        request.page_token = encode_page_token(asked["legacy"])
    seen = []
    while True:
        try:
            page = await store.list(request, OWNERS[owner])
        except InvalidParamsError as error:
            return [*seen, str(error)]
        seen.append(str(page))
        if not page.next_page_token:
            return seen
        request.page_token = page.next_page_token


@settings(max_examples=200, deadline=None)
@given(steps=st.lists(STEPS, max_size=12), owner=st.sampled_from("ab"), asked=ASKED)
async def test_both_stores_answer_alike(
    steps: list[Any], owner: str, asked: dict[str, Any]
) -> None:
    stores: list[Any] = [InMemoryTaskStore(), MemoryTaskStore()]
    for kind, name, what in steps:
        for store in stores:
            if kind == "save":
                await store.save(made(*what), OWNERS[name])
            else:
                await store.delete(what, OWNERS[name])
    assert await pages(stores[0], owner, asked) == await pages(stores[1], owner, asked)
    for name in "pqrst":
        assert await stores[0].get(name, OWNERS[owner]) == await stores[1].get(name, OWNERS[owner])


async def test_what_was_given_or_returned_can_be_changed_without_harm() -> None:
    store, context = MemoryTaskStore(), of("a")
    task = made("t", "x", 1, None)
    await store.save(task, context)
    task.context_id = "changed"
    (await store.get("t", context)).context_id = "changed"  # type: ignore[union-attr]
    (await store.list(ListTasksRequest(), context)).tasks[0].context_id = "changed"
    kept = await store.get("t", context)
    assert kept is not None
    assert kept.context_id == "x"


async def test_a_full_store_forgets_ended_tasks_before_those_that_live() -> None:
    store, context = MemoryTaskStore(tasks_max=2), of("a")
    await store.save(made("lives", "x", TaskState.TASK_STATE_WORKING, None), context)
    await store.save(made("ended", "x", TaskState.TASK_STATE_COMPLETED, None), context)
    await store.save(made("third", "x", TaskState.TASK_STATE_WORKING, None), context)
    assert await store.get("ended", context) is None
    await store.save(made("fourth", "x", TaskState.TASK_STATE_WORKING, None), context)
    assert await store.get("lives", context) is None
    assert len(store) == 2


async def test_pages_follow_each_other_with_and_without_times() -> None:
    stores: list[Any] = [InMemoryTaskStore(), MemoryTaskStore()]
    for number, name in enumerate("pqrst"):
        for store in stores:
            await store.save(made(name, "x", 1, number if number < 3 else None), OWNERS["a"])
    for asked in ({"page_size": 2}, {"page_size": 2, "legacy": "q"}, {"seconds": 1}):
        ours = await pages(stores[1], "a", asked)
        assert ours == await pages(stores[0], "a", asked)
        assert len(ours) == (1 if "seconds" in asked else 2 + ("legacy" not in asked))


PARTS = st.fixed_dictionaries({}, optional={"text": st.just("hi"), "mediaType": st.just("a/b")})
MESSAGES = st.fixed_dictionaries(
    {},
    optional={
        "messageId": st.sampled_from(("", "m")),
        "role": st.sampled_from(("ROLE_USER", "ROLE_UNSPECIFIED")),
        "parts": st.lists(PARTS, max_size=2),
    },
)
SENDS = st.fixed_dictionaries(
    {},
    optional={
        "message": MESSAGES,
        "configuration": st.fixed_dictionaries(
            {},
            optional={
                "taskPushNotificationConfig": st.fixed_dictionaries(
                    {},
                    optional={
                        "url": st.sampled_from(("", "https://a.test")),
                        "authentication": st.sampled_from(({}, {"scheme": "Bearer"})),
                    },
                )
            },
        ),
    },
)
SCHEMES = st.dictionaries(
    st.just("s"),
    st.sampled_from(
        (
            {},
            {"httpAuthSecurityScheme": {}},
            {"httpAuthSecurityScheme": {"scheme": "Bearer"}},
            {"oauth2SecurityScheme": {"flows": {"clientCredentials": {"scopes": {"a": "b"}}}}},
        )
    ),
)
WHOLE_CARD: dict[str, Any] = {
    "name": "x",
    "description": "y",
    "version": "1",
    "capabilities": {},
    "supportedInterfaces": [
        {"url": "https://a.test", "protocolBinding": "JSONRPC", "protocolVersion": "1.0"}
    ],
    "defaultInputModes": ["a/b"],
    "defaultOutputModes": ["a/b"],
    "skills": [{"id": "s", "name": "s", "description": "s", "tags": ["t"]}],
}
CARDS = st.builds(
    lambda dropped, schemes: {
        **{k: v for k, v in WHOLE_CARD.items() if k != dropped},
        "securitySchemes": schemes,
    },
    st.sampled_from(("", *WHOLE_CARD)),
    SCHEMES,
)
REQUESTS = st.one_of(
    SENDS.map(lambda value: ParseDict(value, SendMessageRequest())),
    CARDS.map(lambda value: ParseDict(value, AgentCard())),
    st.sampled_from(("", "t")).map(lambda name: GetTaskRequest(id=name)),
)


def complaint(check: Any, request: Any) -> Any:
    try:
        check(request)
    except InvalidParamsError as error:
        return error.data
    return None


@settings(max_examples=400, deadline=None)
@given(request=REQUESTS)
def test_the_quick_check_of_required_fields_says_what_the_official_one_says(request: Any) -> None:
    assert complaint(check_required, request) == complaint(validate_proto_required_fields, request)
