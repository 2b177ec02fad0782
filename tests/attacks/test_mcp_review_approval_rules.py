"""An agent words a call so that a rule of approval does not see it, or a yes covers more than was asked."""

from dataclasses import replace

import pytest

from hive.core.json import Json, encode
from hive.kernel.approvals import ApprovalRule, Condition, Operator, key_of_question
from tests.unit.test_kernel_replay import CALL

TOOL = replace(CALL, facts={"definition": "d"})


def needs_a_yes(operator: Operator, wanted: bool | int | str, value: Json) -> bool:
    rule = ApprovalRule(
        id="r", verb="", conditions=(Condition(pointer="/it", operator=operator, value=wanted),)
    )
    return rule.fits(TOOL, encode({"it": value}))


@pytest.mark.parametrize("path", ["//etc/shadow", "///etc/shadow", "/etc//shadow", "//x/../etc"])
def test_doubled_slashes_do_not_lead_around_a_rule_on_a_folder(path: str) -> None:
    assert needs_a_yes(Operator.UNDER, "/etc", path)
    # Text compared with text sees most of them elsewhere.
    assert path.startswith("/etc/") == (path == "/etc//shadow")
    assert not needs_a_yes(Operator.UNDER, "/etc", "/srv/etc")


@pytest.mark.parametrize("value", [1, 1.0])
def test_a_number_does_not_pass_for_true(value: float) -> None:
    assert needs_a_yes(Operator.UNEQUAL, wanted=True, value=value)
    assert not needs_a_yes(Operator.UNEQUAL, wanted=True, value=True)


def test_a_yes_for_one_answer_to_a_server_is_none_for_another() -> None:
    rule = ApprovalRule(id="r")
    keys = {
        key_of_question(replace(TOOL, facts={"definition": "d", "answers": answers}), rule)
        for answers in ("harmless", "harmful")
    }
    assert len(keys) == 2
