"""Reads a client's Gemini request into a conversation."""

from collections.abc import Iterator, Mapping
from typing import Final

from hive.core.json import Json
from hive.protocols.models.conversation import (
    AnswerFormat,
    Conversation,
    MediaPart,
    Part,
    Reasoning,
    Sampling,
    TextPart,
    ToolChoice,
    ToolSpec,
    Utterance,
)
from hive.protocols.models.gemini_names import TwoNamesError, camel_case
from hive.protocols.models.wires.fields import Fields, bad, compact, untranslatable
from hive.protocols.models.wires.gemini_parts import CallNames, read_part
from hive.protocols.models.wires.gemini_schema import json_schema

GEMINI_HARMLESS: Final = frozenset({"safetySettings", "labels", "serviceTier", "store"})
CONFIG: Final = "generationConfig"
_READ: Final = frozenset(
    {"model", "contents", "systemInstruction", "tools", "toolConfig", CONFIG, *GEMINI_HARMLESS}
)
_READ_CONFIG: Final = frozenset(
    {
        "stopSequences",
        "responseMimeType",
        "responseSchema",
        "responseJsonSchema",
        "_responseJsonSchema",
        "candidateCount",
        "maxOutputTokens",
        "temperature",
        "topP",
        "topK",
        "seed",
        "presencePenalty",
        "frequencyPenalty",
        "thinkingConfig",
    }
)
_WITHOUT_MEANING: Final[Mapping[str, tuple[Json, ...]]] = {
    "responseLogprobs": (False,),
    "responseModalities": (["TEXT"], ["text"], []),
    "enableEnhancedCivicAnswers": (False,),
    "mediaResolution": ("MEDIA_RESOLUTION_UNSPECIFIED",),
}
_JSON: Final = "application/json"


def read_gemini_question(document: Mapping[str, Json], *, model: str, stream: bool) -> Conversation:
    """Read a request, in either spelling of its fields.

    Raises:
        BadInputError: a field is not what the wire says.
        UntranslatableError: a field has no meaning for any other provider.

    """
    try:
        fields = Fields(camel_case(document))
    except TwoNamesError as error:
        raise bad(str(error), "stands twice, in two spellings") from error
    config = fields.inner(CONFIG) or Fields({}, CONFIG)
    tools = tuple(_tools(fields))
    reasoning, shown = _reasoning(config)
    harmless: dict[str, Json] = {
        key: value
        for key, value in fields.document.items()
        if key in GEMINI_HARMLESS and value is not None
    }
    extras = {f"{CONFIG}.{key}": value for key, value in _unread(config).items()}
    return Conversation(
        model=model,
        utterances=tuple(_utterances(fields)),
        stream=stream,
        include_usage=stream,
        tools=tools,
        tool_choice=_tool_choice(fields, tools),
        answer_format=_answer_format(config),
        sampling=_sampling(config),
        reasoning=reasoning,
        extras=extras | fields.rest(_READ),
        harmless=harmless | shown,
    )


def _unread(config: Fields) -> dict[str, Json]:
    return {
        key: value
        for key, value in config.rest(_READ_CONFIG).items()
        if value not in _WITHOUT_MEANING.get(key, ())
    }


def _utterances(fields: Fields) -> Iterator[Utterance]:
    system = fields.inner("systemInstruction")
    if system is not None:
        texts = tuple(TextPart(text=part.text("text")) for part in system.objects("parts"))
        if any(text.text for text in texts):
            yield Utterance(role="system", parts=texts)
    if not fields.items("contents"):
        raise bad("contents", "must have at least one content")
    names = CallNames()
    for content in fields.objects("contents"):
        role = content.one_of("role", ("user", "model", "function", "tool"), "user")
        parts = tuple(_parts(content, names, said=role == "model"))
        yield Utterance(role="assistant" if role == "model" else "user", parts=parts)


def _parts(content: Fields, names: CallNames, *, said: bool) -> Iterator[Part]:
    for part in content.objects("parts"):
        for read in read_part(part, names):
            if said and isinstance(read, MediaPart):
                raise untranslatable(part.where, "an assistant says text only on other wires")
            yield read


def _tools(fields: Fields) -> Iterator[ToolSpec]:
    for tool in fields.objects("tools"):
        for key in tool.rest({"functionDeclarations"}):
            raise untranslatable(tool.place(key), "only functions are tools on other wires")
        for function in tool.objects("functionDeclarations"):
            yield _function(function)


def _function(function: Fields) -> ToolSpec:
    if function.text("behavior", "BLOCKING") not in ("BLOCKING", "UNSPECIFIED"):
        raise untranslatable(function.place("behavior"), "other wires wait for a result")
    schema = function.mapping("parametersJsonSchema")
    if function.has("parameters"):
        if schema:
            raise bad(function.place("parameters"), "stands beside `parametersJsonSchema`")
        schema = json_schema(function.mapping("parameters"), function.place("parameters"))
    return ToolSpec(name=function.named("name"), description=_described(function), schema=schema)


def _described(function: Fields) -> str:
    """Return a function's description; what it answers stands in its words, for other wires have no place."""
    description = function.text("description")
    for key in ("response", "responseJsonSchema"):
        if function.has(key):
            told = f"It answers with: {compact(function.mapping(key)).decode()}"
            description = f"{description}\n{told}" if description else told
    return description


def _tool_choice(fields: Fields, tools: tuple[ToolSpec, ...]) -> ToolChoice | None:
    config = fields.inner("toolConfig")
    if config is None:
        return None
    for key in config.rest({"functionCallingConfig"}):
        raise untranslatable(config.place(key), "only this wire has it")
    calling = config.inner("functionCallingConfig")
    if calling is None:
        return None
    allowed = calling.texts("allowedFunctionNames")
    mode = calling.text("mode", "AUTO").upper()
    match mode:
        case "AUTO" | "MODE_UNSPECIFIED":
            choice = ToolChoice(mode="auto")
        case "NONE":
            choice = ToolChoice(mode="none")
        case "ANY" if len(allowed) == 1:
            return ToolChoice(mode="named", name=allowed[0])
        case "ANY":
            choice = ToolChoice(mode="required")
        case _:
            raise untranslatable(calling.place("mode"), f"{mode[:20]} is known to this wire only")
    if allowed and set(allowed) != {tool.name for tool in tools}:
        raise untranslatable(calling.place("allowedFunctionNames"), "other wires allow one or all")
    return choice


def _answer_format(config: Fields) -> AnswerFormat | None:
    media = config.text("responseMimeType", "text/plain")
    schema: dict[str, Json] | None = None
    for key in ("responseJsonSchema", "_responseJsonSchema"):
        if config.has(key):
            schema = config.mapping(key)
    if config.has("responseSchema"):
        schema = json_schema(config.mapping("responseSchema"), config.place("responseSchema"))
    if media not in (_JSON, "text/plain"):
        raise untranslatable(config.place("responseMimeType"), f"{media[:60]} is no JSON")
    if schema is not None:
        return AnswerFormat(kind="schema", schema=schema)
    return AnswerFormat(kind="json") if media == _JSON else None


def _sampling(config: Fields) -> Sampling:
    return Sampling(
        max_output_tokens=_whole(config, "maxOutputTokens", least=1),
        temperature=config.number("temperature"),
        top_p=config.number("topP"),
        top_k=_whole(config, "topK"),
        seed=_whole(config, "seed", least=-(1 << 31)),
        stop=config.texts("stopSequences"),
        presence_penalty=config.number("presencePenalty"),
        frequency_penalty=config.number("frequencyPenalty"),
        answers=_whole(config, "candidateCount", least=1) or 1,
    )


def _whole(config: Fields, key: str, *, least: int = 0) -> int | None:
    """Read a whole number; Google's clients write some of them as 40.0."""
    value = config.raw(key)
    if isinstance(value, float) and value.is_integer():
        return Fields({key: int(value)}, config.where).whole(key, least=least)
    return config.whole(key, least=least)


def _reasoning(config: Fields) -> tuple[Reasoning | None, dict[str, Json]]:
    thinking = config.inner("thinkingConfig")
    if thinking is None:
        return None, {}
    shown: dict[str, Json] = {}
    if (include := thinking.flag("includeThoughts")) is not None:
        shown["includeThoughts"] = include
    budget = _whole(thinking, "thinkingBudget", least=-1)
    if budget == 0:
        return Reasoning(enabled=False), shown
    effort = thinking.text("thinkingLevel").lower()
    if effort in ("", "thinking_level_unspecified") and budget in (None, -1):
        return (Reasoning() if budget == -1 else None), shown
    return Reasoning(effort=effort, budget_tokens=budget if (budget or 0) > 0 else None), shown
