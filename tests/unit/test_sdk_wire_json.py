"""JSON to protobuf and back means what the official library means by it."""

import base64
import json
import math

# First, for the official package's client and server import each other: else it has no gRPC of 0.3.
import a2a.client  # noqa: F401
import msgspec
import pytest
from a2a.server.routes.common import serialize_list_tasks_response
from a2a.types import a2a_pb2 as pb
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st

from hive_a2a.faults import INVALID_PARAMS, PARSE_ERROR, WireFault
from hive_a2a.wire.calls import REQUEST_OF
from hive_a2a.wire.proto_in import to_proto
from hive_a2a.wire.proto_out import to_json
from hive_a2a.wire.strict_json import read_base64, read_json

TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
NUMBER = st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
FREE = st.recursive(
    st.none() | st.booleans() | NUMBER | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
STRUCT = st.dictionaries(TEXT, FREE, max_size=3)
BASE64 = st.binary(max_size=9).map(lambda data: base64.b64encode(data).decode())


PART = st.one_of(
    [
        st.fixed_dictionaries(
            {name: value},
            optional={"metadata": STRUCT, "filename": TEXT, "mediaType": TEXT, "unknown": FREE},
        )
        for name, value in {"text": TEXT, "raw": BASE64, "url": TEXT, "data": FREE}.items()
    ]
)
ROLE = st.sampled_from(["ROLE_USER", "ROLE_AGENT", 1, "ROLE_FROM_THE_FUTURE"])
MESSAGE = st.fixed_dictionaries(
    {},
    optional={
        "messageId": TEXT,
        "message_id": TEXT,
        "contextId": TEXT | st.none(),
        "taskId": TEXT,
        "role": ROLE,
        "parts": st.lists(PART, max_size=3),
        "metadata": STRUCT | st.none(),
        "extensions": st.lists(TEXT, max_size=2),
        "referenceTaskIds": st.lists(TEXT, max_size=2),
        "unknown": FREE,
    },
)
PUSH = st.fixed_dictionaries(
    {},
    optional={
        "tenant": TEXT,
        "id": TEXT,
        "taskId": TEXT,
        "url": TEXT,
        "token": TEXT,
        "authentication": st.fixed_dictionaries({}, optional={"scheme": TEXT, "credentials": TEXT}),
    },
)
COUNT = st.integers(-5, 2**31 - 1) | st.sampled_from(["5", 5.0, 2**31, True, "x", 1.5])
SEND = st.fixed_dictionaries(
    {},
    optional={
        "tenant": TEXT,
        "message": MESSAGE,
        "metadata": STRUCT,
        "configuration": st.fixed_dictionaries(
            {},
            optional={
                "acceptedOutputModes": st.lists(TEXT, max_size=2),
                "historyLength": COUNT,
                "history_length": COUNT,
                "returnImmediately": st.booleans() | st.just("true"),
                "taskPushNotificationConfig": PUSH,
            },
        ),
    },
)
LIST = st.fixed_dictionaries(
    {},
    optional={
        "contextId": TEXT,
        "status": st.sampled_from(["TASK_STATE_WORKING", 2, "NO_SUCH", None]),
        "pageSize": COUNT,
        "pageToken": TEXT,
        "statusTimestampAfter": st.sampled_from(
            ["2026-01-01T00:00:00Z", "2026-01-01T00:00:00.123456+02:00", "never", 5]
        ),
        "includeArtifacts": st.booleans() | st.none(),
    },
)


def officially(value: object, kind: type[Message]) -> Message | None:
    try:
        return ParseDict(value, kind(), ignore_unknown_fields=True)
    except Exception:  # noqa: BLE001 - whatever the official reader stumbles over
        return None


def ours(value: object, kind: type[Message]) -> Message | None:
    try:
        return to_proto(value, kind)
    except WireFault:
        return None


def twice(value: object) -> bool:
    """Tell whether some field stands there in both its spellings: read officially, refused by us."""
    found = json.dumps(value)
    return any(
        f'"{one}"' in found and f'"{other}"' in found
        for one, other in (("messageId", "message_id"), ("historyLength", "history_length"))
    )


@settings(max_examples=400, deadline=None)
@given(
    st.tuples(st.just(pb.SendMessageRequest), SEND)
    | st.tuples(st.just(pb.ListTasksRequest), LIST)
    | st.tuples(st.just(pb.TaskPushNotificationConfig), PUSH)
    | st.tuples(st.sampled_from(sorted(REQUEST_OF.values(), key=str)), FREE)
)
def test_what_comes_in_means_what_the_official_reader_says(pair):
    kind, value = pair
    read = read_json(json.dumps(value).encode())
    if not twice(read):
        assert ours(read, kind) == officially(read, kind)


def test_one_field_in_both_its_spellings_is_refused():
    with pytest.raises(WireFault, match="both its spellings"):
        to_proto({"message": {"messageId": "a", "message_id": "b"}}, pb.SendMessageRequest)


@settings(max_examples=300, deadline=None)
@given(st.lists(MESSAGE, max_size=2), st.lists(PART, max_size=2), STRUCT, st.integers(0, 10**9 - 1))
def test_what_goes_out_is_what_the_official_writer_says(messages, parts, metadata, nanos):
    task = pb.Task(id="t", context_id="c", status=pb.TaskStatus(state=nanos % 11))
    task.status.timestamp.seconds, task.status.timestamp.nanos = 1_800_000_000 + nanos, nanos
    artifact = {"artifactId": "a", "parts": parts, "metadata": metadata}
    wire = {"history": messages, "artifacts": [artifact], "metadata": metadata}
    ParseDict(wire_without_doubles(wire), task, ignore_unknown_fields=True)
    task.status.timestamp.nanos = nanos
    assert to_json(task) == MessageToDict(task)
    assert msgspec.json.decode(msgspec.json.encode(to_json(task))) == MessageToDict(task)
    page = pb.ListTasksResponse(tasks=[task], next_page_token="n")
    assert to_json(page, defaults=True) == serialize_list_tasks_response(
        page, include_artifacts=True
    )


def wire_without_doubles(wire):
    for message in wire["history"]:
        message.pop("message_id", None)
    return wire


@pytest.mark.parametrize("nanos", [0, 5, 5_000, 5_000_000, 123_456_789])
def test_a_time_is_written_with_three_six_or_nine_digits(nanos):
    status = pb.TaskStatus(state=1)
    status.timestamp.seconds, status.timestamp.nanos = 1_800_000_000, nanos
    assert to_json(status) == MessageToDict(status)


def test_cards_and_push_configs_are_written_the_same():
    card = pb.AgentCard(name="a", version="1", capabilities=pb.AgentCapabilities(streaming=True))
    card.security_schemes["k"].api_key_security_scheme.name = "x-key"
    card.capabilities.extensions.add(uri="urn:x").params.update({"a": [1, None]})
    assert to_json(card) == MessageToDict(card)
    configs = pb.ListTaskPushNotificationConfigsResponse(
        configs=[pb.TaskPushNotificationConfig(id="1", url="https://x")]
    )
    assert to_json(configs) == MessageToDict(configs)


def test_a_number_without_end_is_not_written():
    part = pb.Part()
    part.data.number_value = math.inf
    with pytest.raises(ValueError, match="no end"):
        to_json(part)


def test_a_time_outside_of_the_calendar_is_not_written():
    status = pb.TaskStatus(state=1)
    status.timestamp.seconds = 1 << 60
    with pytest.raises(ValueError, match="not valid"):
        to_json(status)
    status.timestamp.seconds, status.timestamp.nanos = 0, -1
    with pytest.raises(ValueError, match="not valid"):
        to_json(status)


@pytest.mark.parametrize("text", ["AAAA", "AAA=", "AA==", "AAA", "AA", "-_-_", "", "_w"])
def test_base64_in_either_alphabet_padded_or_not_is_read(text):
    part = ParseDict({"raw": text}, pb.Part())
    assert read_base64(text) == part.raw
    assert to_proto({"raw": text}, pb.Part).raw == part.raw


@pytest.mark.parametrize("text", ["A", "A*==", "AA=A", "AAAAA", "AA ==", "====", "é", "AA\n=="])
@pytest.mark.parametrize("name", ["text_of_the_future", "media_type"])
def test_raw_bytes_that_are_not_base64_are_refused_on_both_ways(text, name):
    message = {"messageId": "m", "role": "ROLE_USER", "parts": [{"raw": text, name: "x"}]}
    with pytest.raises(WireFault) as refused:
        to_proto({"message": message}, pb.SendMessageRequest)
    assert refused.value.kind is INVALID_PARAMS


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b'{"a":1,"a":2}', PARSE_ERROR),
        (b'{"a":{"b":1,"c":[{"d":1,"d":1}]}}', PARSE_ERROR),
        (b'{"a":1,"\\u0061":2}', PARSE_ERROR),
        (b'{"x":"\\",\\"x\\":","x":1}', PARSE_ERROR),
        (b'{"a":NaN}', PARSE_ERROR),
        (b'{"a":Infinity}', PARSE_ERROR),
        (b'{"a":1e999}', INVALID_PARAMS),
        (b'{"a":"\\ud800"}', PARSE_ERROR),
        (b'{"a":"\xff"}', PARSE_ERROR),
        (b"", PARSE_ERROR),
        (b"\xef\xbb\xbf{}", PARSE_ERROR),
    ],
)
def test_json_that_could_be_read_in_two_ways_is_refused(body, kind):
    with pytest.raises(WireFault) as refused:
        read_json(body)
    assert refused.value.kind is kind


@settings(max_examples=200, deadline=None)
@given(FREE)
def test_all_other_json_is_read(value):
    for text in (json.dumps(value), json.dumps(value, ensure_ascii=False, indent=1)):
        assert read_json(text.encode()) == json.loads(text)
