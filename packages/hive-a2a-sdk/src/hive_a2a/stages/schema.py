"""What a skill takes and gives, by JSON Schema: data parts that are not so do not reach it, or the caller.

A skill that declares an `input` gets only data parts that are valid by it; one that declares an `output`
sends none that are not, in an answer, in any event of a stream, and when a task is read later. A
refusal names the place (a JSON pointer), never the value. The text of a message is its instruction,
and is kept apart from its data: see `hive_a2a.stages.prompt`.

The validator is `jsonschema-rs`: drafts up to 2020-12, regular expressions in linear time, and no
fetching of references. It is loaded when there are schemas, not before.
"""

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from hive_a2a.call import Proto, WireCall
from hive_a2a.errors import A2AError
from hive_a2a.faults import BAD_ANSWER, INVALID_PARAMS, WireFault
from hive_a2a.ports import Stage
from hive_a2a.stages.digest import message_of
from hive_a2a.stages.guard import parts_lists
from hive_a2a.stages.prompt import new_fence, set_fence

Json: TypeAlias = Any
SCHEMAS_URI: Final = "urn:hive-a2a:schemas:1"
"""The extension of a card that declares schemas: `params` are `{skill id: {"input": ..., "output": ...}}`."""
SKILL_KEY: Final = "skillId"
"""Where the metadata of a message names the skill that is meant."""
TASKS_KEPT_MAX: Final = 10_000
_REGEX_BYTES: Final = 1 << 20


class SchemaError(A2AError):
    """A declared schema is not one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SkillSchema:
    """What a skill takes and gives; a side that is None is not checked.

    `data_required`: a message to it has at least one data part. `text`: it may have instructions too.
    """

    input: dict[str, Json] | None = None
    output: dict[str, Json] | None = None
    data_required: bool = False
    text: bool = True


@dataclass(frozen=True, slots=True)
class _Compiled:
    declared: SkillSchema
    input: Any
    output: Any


class SchemaStage:
    """The stage. It remembers which skill a task belongs to, since reading one does not say it."""

    def __init__(
        self, schemas: Mapping[str, SkillSchema], *, tasks_kept_max: int = TASKS_KEPT_MAX
    ) -> None:
        self._schemas = {skill: _compiled(skill, one) for skill, one in schemas.items()}
        self._only = next(iter(self._schemas)) if len(self._schemas) == 1 else ""
        self._skill_of_task: OrderedDict[str, str] = OrderedDict()
        self._tasks_kept_max = tasks_kept_max

    @property
    def idle(self) -> bool:
        """Tell whether no skill declared anything."""
        return not self._schemas

    def admit(self, call: WireCall) -> None:
        """Let a call pass whose data is what its skill takes; mark the fence of its prompt.

        Raises:
            WireFault: invalid parameters, naming the place.

        """
        message = message_of(call.params)
        if message is None or not self._schemas:
            return
        begun_for = self._skill_of_task.get(message.task_id, "")
        if begun_for and call.skill and call.skill != begun_for:
            # Another skill's schema would let through what this task's own keeps out.
            raise _bad_input("metadata", "the task was begun for another skill")
        skill = self._skill_of(call.skill, message.task_id)
        compiled = self._schemas.get(skill)
        data = [part.data for part in message.parts if part.WhichOneof("content") == "data"]
        if compiled is None:
            if call.skill or data:
                raise _bad_input("metadata", "it names no skill that takes data here")
            return
        if compiled.input is not None:
            for number, place in _violations(compiled.input, message.parts):
                raise _bad_input(f"parts/{number}/data{place}", "it is not what the skill takes")
        if compiled.declared.data_required and not data:
            raise _bad_input("parts", "the skill needs a data part")
        if not compiled.declared.text and any(part.text for part in message.parts):
            raise _bad_input("parts", "the skill takes data alone, no text")
        call.facts[_SKILL] = skill
        set_fence(call, message, new_fence())

    def check(self, call: WireCall, answer: Proto) -> None:
        """Let an answer or event pass whose data is what the skill gives.

        Raises:
            WireFault: invalid agent response, naming the place.

        """
        if not self._schemas or answer is None:
            return
        for task_id, asked, part_of in _answers(answer):
            skill = call.facts.get(_SKILL, "") or self._skill_of("", task_id) or asked
            if task_id and skill:
                self._remember(task_id, skill)
            compiled = self._schemas.get(skill)
            if compiled is None or compiled.output is None:
                continue
            for parts in part_of:
                for number, place in _violations(compiled.output, parts):
                    raise WireFault(
                        BAD_ANSWER,
                        f"The agent's answer is not what its skill gives, at parts/{number}/data{place}.",
                        metadata={"check": str(Stage.SCHEMA), "skill": skill},
                    )

    def _skill_of(self, named: str, task_id: str) -> str:
        return named or self._skill_of_task.get(task_id, "") or self._only

    def _remember(self, task_id: str, skill: str) -> None:
        self._skill_of_task[task_id] = skill
        self._skill_of_task.move_to_end(task_id)
        if len(self._skill_of_task) > self._tasks_kept_max:
            self._skill_of_task.popitem(last=False)


_SKILL: Final = "schema.skill"


def schemas_of_card(card: Proto) -> dict[str, SkillSchema]:
    """Return the schemas that a card declares in the extension `SCHEMAS_URI`.

    Raises:
        SchemaError: the extension's parameters are not of its form.

    """
    from google.protobuf.json_format import MessageToDict

    found: dict[str, SkillSchema] = {}
    for extension in card.capabilities.extensions:
        if extension.uri != SCHEMAS_URI:
            continue
        for skill, sides in MessageToDict(extension.params).items():
            if not isinstance(sides, dict) or not set(sides) <= {"input", "output"}:
                raise SchemaError(
                    f"The schemas of skill {skill!r} in the card are not of their form."
                )
            found[skill] = SkillSchema(input=sides.get("input"), output=sides.get("output"))
    return found


def _compiled(skill: str, declared: SkillSchema) -> _Compiled:
    return _Compiled(
        declared, _validator(skill, declared.input), _validator(skill, declared.output)
    )


def _validator(skill: str, schema: dict[str, Json] | None) -> Any:  # noqa: ANN401 - the engine's own
    if schema is None:
        return None
    try:
        import jsonschema_rs
    except ImportError:
        raise SchemaError(
            "Schemas of skills need a validator.",
            why="The package `jsonschema-rs` is not installed.",
            fix="pip install 'hive-a2a-sdk[schemas]'",
        ) from None
    try:
        return jsonschema_rs.validator_for(
            schema,
            offline=True,
            mask="the value",
            pattern_options=jsonschema_rs.RegexOptions(size_limit=_REGEX_BYTES),
        )
    except (ValueError, jsonschema_rs.ReferencingError) as error:
        raise SchemaError(
            f"A schema of skill {skill!r} is not one.", why=str(error).partition("\n")[0]
        ) from None


def _violations(validator: Any, parts: Any) -> Iterator[tuple[int, str]]:  # noqa: ANN401
    """Yield the number of each data part that is not valid, and the place in it."""
    from hive_a2a.wire.proto_out import to_json

    for number, part in enumerate(parts):
        if part.WhichOneof("content") != "data":
            continue
        value: Json = to_json(part.data)
        if not validator.is_valid(value):
            error = next(validator.iter_errors(value))
            yield number, "".join(f"/{_escaped(step)}" for step in error.instance_path)


def _escaped(step: str | int) -> str:
    """Write one step of a JSON pointer; the name of a member is the sender's, so it is kept short."""
    return str(step)[:64].replace("~", "~0").replace("/", "~1")


def _answers(answer: Proto) -> Iterator[tuple[str, str, Iterator[Any]]]:
    """Yield the tasks and messages of an answer or event, the skill asked for, and the agent's lists of parts."""
    fields = answer.DESCRIPTOR.fields_by_name
    if "tasks" in fields:
        for task in answer.tasks:
            yield from _answers(task)
        return
    for name in ("task", "message", "status_update", "artifact_update"):
        if name in fields and answer.HasField(name):
            yield from _answers(getattr(answer, name))
            return
    if "history" in fields:
        yield answer.id, _asked_for(answer), _made_by_agent(answer)
    elif "task_id" in fields:
        yield answer.task_id, "", parts_lists(answer)


def _asked_for(task: Proto) -> str:
    """Return the skill that a task was begun for, as its history has it: for tasks from before a restart."""
    for message in task.history:
        if message.role != _ROLE_AGENT and SKILL_KEY in message.metadata:
            return str(message.metadata[SKILL_KEY])
    return ""


def _made_by_agent(task: Proto) -> Iterator[Any]:
    yield from parts_lists(task.status)
    for artifact in task.artifacts:
        yield artifact.parts
    for message in task.history:
        if message.role == _ROLE_AGENT:
            yield message.parts


_ROLE_AGENT: Final = 2


def _bad_input(place: str, why: str) -> WireFault:
    return WireFault(
        INVALID_PARAMS,
        f"The message is refused at {place}: {why}.",
        metadata={"check": str(Stage.SCHEMA), "place": place},
    )
