"""A cassette answers the question that was recorded, whatever ids were drawn since, and no other."""

import json

import pytest

from hive.core.clock import SystemClock
from hive.core.errors import BadInputError, ConfigError
from hive.core.secret import Secret
from hive.protocols.models.cassette import (
    Cassette,
    exchange_of,
    load_cassette,
    recorded_exchange,
    write_cassette,
)
from hive.protocols.models.drivers import UPSTREAMS
from hive.protocols.models.frames import head_frame
from hive.protocols.models.ports import Dialect, ModelHead, ModelRequest
from hive.protocols.models.requests import canonical
from hive.protocols.models.reserve import with_limit, with_usage

JSON_HEAD = ModelHead(status=200, headers=(("content-type", "application/json"),))
ID = "call_1234567890abcdefABCD"
OTHER_ID = "call_ffffffff90abcdefABCD"


def question(text="hi", *, stream=False, dialect=Dialect.CHAT, **more):
    document = {"model": "m", "messages": [{"role": "user", "content": text}], **more}
    if stream:
        document["stream"] = True
    return ModelRequest(
        dialect=dialect,
        model="m",
        stream=stream,
        body=json.dumps(document).encode(),
        document=document,
    )


def recorded(text, *frames, **more):
    return exchange_of(question(text, **more), JSON_HEAD, frames)


def told(cassette, request):
    found = cassette.find(request)
    return found if isinstance(found, str) else b"".join(found.body)


def test_each_question_gets_its_own_answer_byte_for_byte():
    cassette = Cassette([recorded("one", b'{"a":', b"1}"), recorded("two", b"\xff\x00 no text")])
    assert told(cassette, question("two")) == b"\xff\x00 no text"
    found = cassette.find(question("one"))
    assert list(found.body) == [b'{"a":', b"1}"]
    assert found.head == JSON_HEAD


def test_the_same_question_again_gets_the_next_answer_and_the_last_one_stays():
    cassette = Cassette([recorded("x", b"1"), recorded("x", b"2")])
    assert [told(cassette, question("x")) for _ in range(3)] == [b"1", b"2", b"2"]


def test_an_id_that_was_drawn_anew_is_the_same_question():
    def asked(drawn):
        return question("x", tools_called=[{"id": drawn}, {"tool_call_id": drawn}])

    cassette = Cassette([exchange_of(asked(ID), JSON_HEAD, [b"1"])])
    assert told(cassette, asked(OTHER_ID)) == b"1"


def test_another_word_is_another_question_and_only_its_place_is_told():
    cassette = Cassette([recorded("the secret of another", b"1")])
    place = told(cassette, question("something else"))
    assert place == "body.messages[0].content"


def test_a_call_of_the_journal_is_answered_as_it_was():
    asked = question("x", stream=True)
    frames = [head_frame(JSON_HEAD), b"data: 1\n\n", b"data: [DONE]\n\n"]
    cassette = Cassette([recorded_exchange("m", canonical(asked), frames)])
    # The door asks every stream for its usage, and records the answer to that.
    found = cassette.find(with_usage(asked))
    assert (found.head, list(found.body)) == (JSON_HEAD, frames[1:])


@pytest.mark.parametrize("dialect", Dialect)
def test_a_call_of_any_wire_is_found_again_also_under_a_budgets_limit(dialect):
    asked = question("x", dialect=dialect)
    made = recorded_exchange("m", canonical(asked), [head_frame(JSON_HEAD), b"1"])
    cassette = Cassette([made])
    limited = asked if dialect is Dialect.EMBEDDINGS else with_limit(asked, 9, models=("gpt-x",))
    assert told(cassette, asked) == b"1"
    assert told(cassette, limited) == b"1"


def test_a_limit_that_was_recorded_is_part_of_the_question():
    cassette = Cassette([recorded("x", b"1", max_tokens=5)])
    assert told(cassette, question("x", max_tokens=6)) == "body.max_tokens"
    assert told(cassette, question("x", max_tokens=5)) == b"1"


@pytest.mark.parametrize("arguments", [b"", b"[]", b'{"path":"/x","body":{}}', b'{"body":1}'])
def test_what_is_no_call_of_a_model_makes_no_exchange(arguments):
    with pytest.raises(BadInputError):
        recorded_exchange("m", arguments, [head_frame(JSON_HEAD)])


def test_a_stream_is_not_the_answer_to_a_whole_question():
    assert isinstance(told(Cassette([recorded("x", b"1", stream=True)]), question("x")), str)


def test_a_file_that_was_written_reads_as_it_was(tmp_path):
    file = tmp_path / "cassette.json"
    write_cassette(str(file), [recorded("x", b"data: 1\n\n", b"\xff"), recorded("y", b"2")])
    cassette = load_cassette(str(file))
    assert told(cassette, question("x")) == b"data: 1\n\n\xff"
    assert cassette.models == ("m",)
    assert cassette.dialects == {Dialect.CHAT}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "truncated"),
        ('{"format": "other/1", "exchanges": []}', "other/1"),
        ('{"format": "hive-cassette/1", "exchanges": [{"dialect": "chat"}]}', "model"),
        (
            '{"format": "hive-cassette/1", "exchanges":'
            ' [{"dialect": "smoke", "model": "m", "request": {}, "frames": []}]}',
            "smoke",
        ),
        (
            '{"format": "hive-cassette/1", "exchanges":'
            ' [{"dialect": "chat", "model": "m", "request": {}, "frames": [{"base64": "?"}]}]}',
            "base64",
        ),
    ],
)
def test_a_file_that_is_no_cassette_says_why(tmp_path, text, why):
    file = tmp_path / "cassette.json"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_cassette(str(file))
    assert why in str(caught.value.why)


@pytest.mark.anyio
async def test_what_was_not_recorded_is_refused_in_the_words_of_the_wire(tmp_path):
    file = tmp_path / "cassette.json"
    write_cassette(str(file), [recorded("x", b"1")])
    url = f"replay:{file}"
    driver = UPSTREAMS.load(url)
    async with driver.open(url, key=Secret(""), clock=SystemClock(), timeout_s=1) as upstream:
        assert list(await upstream.models()) == ["m"]
        async with upstream.ask(question("y")) as answer:
            body = b"".join([chunk async for chunk in answer.chunks()])
        async with upstream.ask(question("x")) as answer:
            again = b"".join([chunk async for chunk in answer.chunks()])
    assert json.loads(body)["error"]["code"] == "hive.not_recorded"
    assert b"content" in body
    assert again == b"1"
