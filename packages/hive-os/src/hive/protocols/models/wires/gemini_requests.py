"""Writes a conversation as a Gemini request for a provider."""

from collections.abc import Iterator
from typing import Final

from hive.core.json import Json
from hive.protocols.models.conversation import (
    AnswerFormat,
    Conversation,
    Reasoning,
    Sampling,
    TextPart,
    ToolCallPart,
    ToolChoice,
    ToolSpec,
    Utterance,
)
from hive.protocols.models.wires.fields import put, refuse_extras, untranslatable
from hive.protocols.models.wires.gemini_parts import write_parts
from hive.protocols.models.wires.gemini_questions import CONFIG, GEMINI_HARMLESS

# What an effort is in tokens of thinking, as Google's own door for OpenAI's clients has it.
_BUDGETS: Final = {"minimal": 1024, "low": 1024, "medium": 8192, "high": 24_576, "xhigh": 24_576}
_PASSED: Final = frozenset(
    {
        f"{CONFIG}.{name}"
        for name in (
            "responseLogprobs",
            "logprobs",
            "mediaResolution",
            "responseModalities",
            "speechConfig",
            "imageConfig",
        )
    }
)


def write_gemini_question(conversation: Conversation) -> dict[str, Json]:
    """Write a request; the model and whether it streams stand in the path.

    Raises:
        UntranslatableError: it says something for which the wire has no words.

    """
    document: dict[str, Json] = {}
    system = [one for one in conversation.utterances if one.role == "system"]
    if system:
        document["systemInstruction"] = {
            "parts": [
                {"text": part.text}
                for one in system
                for part in one.parts
                if isinstance(part, TextPart)
            ]
        }
    contents = list(_contents(conversation))
    if not contents:
        raise untranslatable("messages", "the Gemini wire needs one message that is no system text")
    document["contents"] = contents
    if conversation.tools:
        document["tools"] = [
            {"functionDeclarations": [_function(tool) for tool in conversation.tools]}
        ]
    put(document, toolConfig=_tool_config(conversation.tool_choice))
    if conversation.parallel_tools is False and conversation.tools:
        raise untranslatable("parallel_tool_calls", "the Gemini wire cannot forbid them")
    config = _config(conversation)
    extras = refuse_extras(conversation.extras, _PASSED, "Gemini")
    config |= {key.removeprefix(f"{CONFIG}."): value for key, value in extras.items()}
    if config:
        document[CONFIG] = config
    document |= {
        key: value for key, value in conversation.harmless.items() if key in GEMINI_HARMLESS
    }
    return document


def _contents(conversation: Conversation) -> Iterator[Json]:
    """Yield the contents: one speaker after the other, results under their functions' names."""
    named: dict[str, str] = {}
    held: Utterance | None = None
    begun = False
    for index, utterance in enumerate(conversation.utterances):
        where = f"messages[{index}]"
        if utterance.role == "system":
            if begun:
                # Gemini has one place for system text, so it may move to the front, but not its meaning.
                raise untranslatable(where, "the Gemini wire takes system text at the start only")
            continue
        begun = True
        named |= {part.id: part.name for part in utterance.parts if isinstance(part, ToolCallPart)}
        if held is not None and held.role == utterance.role:
            held = Utterance(role=held.role, parts=held.parts + utterance.parts)
            continue
        if held is not None:
            yield from _content(held, named, where)
        held = utterance
    if held is not None:
        yield from _content(held, named, "messages")


def _content(utterance: Utterance, named: dict[str, str], where: str) -> Iterator[Json]:
    parts = write_parts(utterance, named, where)
    if parts:
        yield {"role": "model" if utterance.role == "assistant" else "user", "parts": parts}


def _function(tool: ToolSpec) -> Json:
    document: dict[str, Json] = {"name": tool.name}
    if tool.description:
        document["description"] = tool.description
    if tool.schema:
        document["parametersJsonSchema"] = tool.schema
    return document


def _tool_config(choice: ToolChoice | None) -> Json:
    if choice is None:
        return None
    modes = {"auto": "AUTO", "none": "NONE", "required": "ANY", "named": "ANY"}
    calling: dict[str, Json] = {"mode": modes[choice.mode]}
    if choice.mode == "named":
        calling["allowedFunctionNames"] = [choice.name]
    return {"functionCallingConfig": calling}


def _config(conversation: Conversation) -> dict[str, Json]:
    sampling: Sampling = conversation.sampling
    if sampling.answers > 1:
        raise untranslatable("n", "one answer only is translated")
    config: dict[str, Json] = put(
        {},
        maxOutputTokens=sampling.max_output_tokens,
        temperature=sampling.temperature,
        topP=sampling.top_p,
        topK=sampling.top_k,
        seed=sampling.seed,
        stopSequences=list(sampling.stop) or None,
        presencePenalty=sampling.presence_penalty,
        frequencyPenalty=sampling.frequency_penalty,
        thinkingConfig=_thinking(conversation.reasoning, conversation.harmless),
    )
    return config | _format(conversation.answer_format)


def _format(form: AnswerFormat | None) -> dict[str, Json]:
    if form is None:
        return {}
    config: dict[str, Json] = {"responseMimeType": "application/json"}
    if form.kind == "schema":
        config["responseJsonSchema"] = form.schema
    return config


def _thinking(reasoning: Reasoning | None, harmless: dict[str, Json]) -> Json:
    shown = harmless.get("includeThoughts")
    if reasoning is None:
        return None if shown is None else {"includeThoughts": shown}
    if not reasoning.enabled:
        return {"thinkingBudget": 0}
    budget = reasoning.budget_tokens or _BUDGETS.get(reasoning.effort, -1)
    return {"thinkingBudget": budget, "includeThoughts": True if shown is None else shown}
