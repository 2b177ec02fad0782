"""Made-up conversations and answers for the wires, each in the form in which a wire reads it back."""

import string

from hypothesis import strategies as st

from hive.protocols.models.conversation import (
    MediaPart,
    Sampling,
    TextPart,
    ThinkingPart,
    TokenUsage,
    ToolCallPart,
    ToolChoice,
    ToolResultPart,
    ToolSpec,
    Utterance,
)
from hive.protocols.models.wires.fields import compact

words = st.text(min_size=1, max_size=30).filter(str.strip)
names = st.text(alphabet=string.ascii_lowercase + "_", min_size=1, max_size=12)
ids = st.text(alphabet=string.ascii_letters + string.digits + "_-", min_size=1, max_size=20)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 40), 1 << 40) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=6,
)
objects = st.dictionaries(names, json_values, max_size=3)
schemas = st.builds(
    lambda properties: {"type": "object", "properties": properties},
    st.dictionaries(names, st.just({"type": "string"}), max_size=3),
)
texts = st.builds(lambda text: TextPart(text=text), words)
images = st.one_of(
    st.builds(
        lambda kind: MediaPart(media_type=f"image/{kind}", data="aGk="),
        st.sampled_from(["png", "jpeg", "gif", "webp"]),
    ),
    st.builds(
        lambda name: MediaPart(media_type="image/*", url=f"https://example.com/{name}"), names
    ),
)
documents = st.builds(
    lambda name: MediaPart(media_type="application/pdf", data="aGk=", name=name), words
)
sounds = st.builds(
    lambda kind: MediaPart(media_type=kind, data="aGk="),
    st.sampled_from(["audio/wav", "audio/mpeg"]),
)
calls = st.builds(
    lambda call_id, name, arguments: ToolCallPart(
        id=call_id, name=name, arguments=compact(arguments).decode()
    ),
    ids,
    names,
    objects,
)
thoughts = st.builds(
    lambda text, seal: ThinkingPart(text=text, signature=seal), words, ids
) | st.builds(lambda data: ThinkingPart(signature=data, redacted=True), ids)
tools = st.builds(
    lambda name, description, schema, strict: ToolSpec(
        name=name, description=description, schema=schema, strict=strict
    ),
    names,
    words,
    schemas,
    st.sampled_from([None, True, False]),
)
choices = st.one_of(
    st.builds(lambda mode: ToolChoice(mode=mode), st.sampled_from(["auto", "none", "required"])),
    st.builds(lambda name: ToolChoice(mode="named", name=name), names),
)
usages = st.builds(
    lambda plain, read, written, thought, said: TokenUsage(
        input=plain + read + written,
        output=thought + said,
        cache_read=read,
        cache_write=written,
        reasoning=thought,
    ),
    *[st.integers(0, 10_000)] * 5,
)


def results(inner):
    return st.builds(
        lambda call_id, parts: ToolResultPart(call_id=call_id, parts=tuple(parts)),
        ids,
        st.lists(inner, max_size=3),
    )


def alternating(user, assistant):
    """Return user and assistant in turn, beginning and ending with the user."""
    return st.builds(
        lambda first, turns: (first, *[one for turn in turns for one in turn]),
        user,
        st.lists(st.tuples(assistant, user), max_size=2),
    )


def spoken(role, parts, *, most=3):
    return st.builds(
        lambda found: Utterance(role=role, parts=tuple(found)),
        st.lists(parts, min_size=1, max_size=most),
    )


def sampling(**own):
    return st.builds(
        Sampling,
        max_output_tokens=st.none() | st.integers(1, 100_000),
        temperature=st.none() | st.floats(0, 1),
        top_p=st.none() | st.floats(0, 1),
        stop=st.lists(words, max_size=3).map(tuple),
        **own,
    )
