"""What the tools and prompts of the `everything` service give, and what they take."""

from collections.abc import Mapping
from typing import Final

from tests.conformance.everything_asks import ASKING
from tests.conformance.everything_tasks import TASK_TOOLS

from hive.core.json import Json
from hive.protocols.mcp.ports import McpError, McpObject

PNG: Final = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
WAV: Final = "UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAAB9AAACABAAZGF0YQIAAAA="


def text(said: str) -> McpObject:
    """Return a result of one line."""
    return {"content": [{"type": "text", "text": said}]}


_IMAGE: Final[Json] = {"type": "image", "data": PNG, "mimeType": "image/png"}
_RESOURCE: Final[Json] = {
    "type": "resource",
    "resource": {
        "uri": "test://embedded-resource",
        "mimeType": "text/plain",
        "text": "This is an embedded resource content.",
    },
}
_MIXED: Final[Json] = {
    "type": "resource",
    "resource": {
        "uri": "test://mixed-content-resource",
        "mimeType": "application/json",
        "text": '{"test":"data","value":123}',
    },
}
TEXT_TOOLS: Final[Mapping[str, McpObject]] = {
    "test_simple_text": text("This is a simple text response for testing."),
    "test_image_content": {"content": [_IMAGE]},
    "test_audio_content": {"content": [{"type": "audio", "data": WAV, "mimeType": "audio/wav"}]},
    "test_embedded_resource": {"content": [_RESOURCE]},
    "test_multiple_content_types": {
        "content": [
            {"type": "text", "text": "Multiple content types test:"},
            _IMAGE,
            _MIXED,
        ]
    },
    "test_error_handling": {
        "isError": True,
        "content": [
            {"type": "text", "text": "This tool intentionally returns an error for testing"}
        ],
    },
}

NOTHING: Final[Mapping[str, Json]] = {"type": "object", "properties": {}}


def _one(name: str, **more: Json) -> Mapping[str, Json]:
    properties: Json = {name: {"type": "string", **more}}
    return {"type": "object", "properties": properties, "required": [name]}


_TITLED: Final[Json] = [
    {"const": f"value{n}", "title": f"{word} Option"}
    for n, word in enumerate(("First", "Second", "Third"), 1)
]
_PLAIN: Final[Json] = ["option1", "option2", "option3"]
_2020: Final = "https://json-schema.org/draft/2020-12/schema"
_SPECIAL: Final[Mapping[str, Mapping[str, Json]]] = {
    "test_sampling": _one("prompt"),
    "test_elicitation": _one("message"),
    "test_elicitation asks": {
        "type": "object",
        "properties": {
            "username": {"type": "string", "description": "User's response"},
            "email": {"type": "string", "description": "User's email address"},
        },
        "required": ["username", "email"],
    },
    "test_elicitation_sep1034_defaults asks": {
        "type": "object",
        "properties": {
            "name": {"type": "string", "default": "John Doe"},
            "age": {"type": "integer", "default": 30},
            "score": {"type": "number", "default": 95.5},
            "status": {
                "type": "string",
                "enum": ["active", "inactive", "pending"],
                "default": "active",
            },
            "verified": {"type": "boolean", "default": True},
        },
    },
    "test_elicitation_sep1330_enums asks": {
        "type": "object",
        "properties": {
            "untitledSingle": {"type": "string", "enum": _PLAIN},
            "titledSingle": {"type": "string", "oneOf": _TITLED},
            "legacyEnum": {
                "type": "string",
                "enum": ["opt1", "opt2", "opt3"],
                "enumNames": ["Option One", "Option Two", "Option Three"],
            },
            "untitledMulti": {"type": "array", "items": {"type": "string", "enum": _PLAIN}},
            "titledMulti": {"type": "array", "items": {"anyOf": _TITLED}},
        },
    },
    "test_custom_headers": {
        "type": "object",
        "properties": {
            "region": {"type": "string", "x-mcp-header": "Region"},
            "priority": {"type": "integer", "x-mcp-header": "Priority"},
            "verbose": {"type": "boolean", "x-mcp-header": "Verbose"},
            "note": {"type": "string"},
        },
        "required": ["region"],
    },
    "json_schema_2020_12_tool": {
        "$schema": _2020,
        "type": "object",
        "$defs": {
            "address": {
                "$anchor": "addressDef",
                "type": "object",
                "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
            }
        },
        "properties": {
            "name": {"type": "string"},
            "address": {"$ref": "#/$defs/address"},
            "contactMethod": {"type": "string", "enum": ["phone", "email"]},
            "phone": {"type": "string"},
            "email": {"type": "string"},
        },
        "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
        "if": {
            "properties": {"contactMethod": {"const": "phone"}},
            "required": ["contactMethod"],
        },
        "then": {"required": ["phone"]},
        "else": {"required": ["email"]},
        "additionalProperties": False,
    },
    "greet": _one("name"),
    "slow_compute": {"type": "object", "properties": {"seconds": {"type": "number"}}},
    "confirm_delete": {"type": "object", "properties": {"filename": {"type": "string"}}},
}
_PLAIN_TOOLS: Final = (
    *TEXT_TOOLS,
    *ASKING,
    *TASK_TOOLS,
    "test_tool_with_logging",
    "test_logging_tool",
    "test_tool_with_progress",
    "test_elicitation_sep1034_defaults",
    "test_elicitation_sep1330_enums",
    "test_streaming_elicitation",
    "test_reconnection",
    "test_missing_capability",
    "test_trigger_tool_change",
    "test_trigger_prompt_change",
)
SCHEMAS: Final[Mapping[str, Mapping[str, Json]]] = dict.fromkeys(_PLAIN_TOOLS, NOTHING) | _SPECIAL
"""What each tool takes, and under `NAME asks` what it asks its client for."""

_PROMPTS: Final[Mapping[str, tuple[str, ...]]] = {
    "test_simple_prompt": (),
    "test_prompt_with_arguments": ("arg1", "arg2"),
    "test_prompt_with_embedded_resource": ("resourceUri",),
    "test_prompt_with_image": (),
    "test_input_required_result_prompt": (),
}


def prompts_listed() -> list[Json]:
    """Return the prompts as `prompts/list` has them."""
    return [
        {
            "name": name,
            "description": f"Prompt {name}.",
            "arguments": [
                {"name": one, "description": f"Argument {one}.", "required": True}
                for one in arguments
            ],
        }
        for name, arguments in _PROMPTS.items()
    ]


def prompt_of(params: McpObject) -> McpObject:
    """Return one prompt."""
    arguments = params.get("arguments")
    given = arguments if isinstance(arguments, dict) else {}
    match params.get("name"):
        case "test_simple_prompt":
            return _said("This is a simple prompt for testing.")
        case "test_prompt_with_arguments":
            one, two = given.get("arg1"), given.get("arg2")
            return _said(f"Prompt with arguments: arg1='{one}', arg2='{two}'")
        case "test_prompt_with_image":
            return _said("Please analyze the image above.", _IMAGE)
        case "test_prompt_with_embedded_resource":
            embedded: Json = {
                "type": "resource",
                "resource": {
                    "uri": given.get("resourceUri"),
                    "mimeType": "text/plain",
                    "text": "Embedded resource content for testing.",
                },
            }
            return _said("Please process the embedded resource above.", embedded)
    raise McpError(-32602, "Unknown prompt")


def _said(line: str, *before: Json) -> McpObject:
    contents: list[Json] = [*before, {"type": "text", "text": line}]
    return {"messages": [{"role": "user", "content": content} for content in contents]}
