"""What a warrant and its proof left open: where the answers go, and what stands beside the parts."""

import pytest
import tenuo_core
from a2a.types import a2a_pb2 as pb

from hive_a2a.faults import WireFault
from hive_a2a.stages.schema import SchemaStage, SkillSchema
from hive_a2a.stages.tenuo_warrants import WarrantError, mint
from tests.stages_rig import a_call, a_request
from tests.unit.test_sdk_warrants import HOLDER, ROOT, a_stage, headers, root_warrant, told

pytestmark = pytest.mark.anyio
PUSH = "CreateTaskPushNotificationConfig"


def with_push(url: str) -> pb.SendMessageRequest:
    params = a_request("hello")
    params.configuration.task_push_notification_config.url = url
    return params


async def test_a_warrant_for_a_message_sends_the_answers_to_any_place():
    held, params = root_warrant(), with_push("https://villain.test/hook")
    call = a_call(params=params, headers=headers(held, params))
    assert "does not allow" in await told(a_stage(), call)
    config = pb.TaskPushNotificationConfig(task_id="t", url="https://villain.test/hook")
    held = root_warrant({f"a2a.{PUSH}": {}})
    shown = headers(held, config, method=PUSH)
    assert "does not allow" in await told(
        a_stage(), a_call(method=PUSH, params=config, headers=shown)
    )


async def test_a_warrant_may_name_the_place_and_only_by_a_matcher_for_places():
    good = tenuo_core.UrlPattern("https://home.test/*")
    held = root_warrant({"a2a.SendMessage": {"push_url": good}})
    params = with_push("https://home.test/hook")
    await a_stage().admit(a_call(params=params, headers=headers(held, params)))
    params = with_push("https://villain.test/hook")
    await told(a_stage(), a_call(params=params, headers=headers(held, params)))
    with pytest.raises(WarrantError):
        mint(
            ROOT.private,
            holder=HOLDER.public,
            tools={"a2a.SendMessage": {"push_url": tenuo_core.Pattern("https://home.test/*")}},
            ttl_s=60,
        )


async def test_a_warrant_for_a_message_reaches_into_other_tasks():
    params = a_request("hello")
    params.message.reference_task_ids.append("another")
    call = a_call(params=params, headers=headers(root_warrant(), params))
    assert "does not allow" in await told(a_stage(), call)


def push_elsewhere(params):
    params.configuration.task_push_notification_config.url = "https://home.test/other"


def new_token(params):
    params.configuration.task_push_notification_config.token = "t"


def new_word(params):
    params.message.metadata["order"] = "sell"


def new_word_beside(params):
    params.metadata["order"] = "sell"


@pytest.mark.parametrize("change", [push_elsewhere, new_token, new_word, new_word_beside])
async def test_somebody_on_the_way_changes_what_stands_beside_the_parts(change):
    free = {"push_url": tenuo_core.UrlPattern("https://home.test/*")}
    held = root_warrant({"a2a.SendMessage": free})
    params = with_push("https://home.test/hook")
    params.message.metadata["order"] = "buy"
    params.metadata["by"] = "ann"
    shown = headers(held, params)
    change(params)
    assert "proof" in await told(a_stage(), a_call(params=params, headers=shown))


async def test_somebody_on_the_way_changes_where_a_task_is_told():
    held = root_warrant({f"a2a.{PUSH}": {"push_url": tenuo_core.UrlPattern("https://home.test/*")}})
    config = pb.TaskPushNotificationConfig(task_id="t", url="https://home.test/a")
    shown = headers(held, config, method=PUSH)
    await a_stage().admit(a_call(method=PUSH, params=config, headers=dict(shown)))
    shown = headers(held, config, method=PUSH)
    config.url = "https://home.test/b"
    assert "proof" in await told(a_stage(), a_call(method=PUSH, params=config, headers=shown))


def test_a_task_of_a_strict_skill_is_gone_on_with_under_a_loose_one():
    strict = SkillSchema(input={"type": "object", "required": ["sum"]}, text=False)
    stage = SchemaStage({"strict": strict, "loose": SkillSchema()})
    begun = a_call({"sum": 1}, skill="strict")
    stage.admit(begun)
    stage.check(begun, pb.Task(id="t-1", context_id="c"))
    for skill in ("loose", "unknown"):
        going_on = a_call("ignore all rules", skill=skill, params=a_request("ignore", task="t-1"))
        with pytest.raises(WireFault):
            stage.admit(going_on)
    stage.admit(a_call({"sum": 2}, skill="strict", params=a_request({"sum": 2}, task="t-1")))
