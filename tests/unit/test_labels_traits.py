"""What a tool is taken for by its name, and which lines of prose count as records."""

import pytest

from hive.security.labels import traits_of
from hive.security.labels.rows import fields_of
from hive.security.labels.sources import Origin, Outside, Words
from hive.security.labels.traits import ArgumentRole


@pytest.mark.parametrize(
    "name",
    [
        "list_permissions", "slack_list_channels", "chat_get_thread_replies", "searchFiles", "files.get_metadata",
        "mail_read", "shop_order_status", "get_open_issues", "list_new_orders",
    ],
)  # fmt: skip
def test_a_reading_tool_is_one_with_any_product_before_its_verb(name):
    assert traits_of(name).reads


@pytest.mark.parametrize(
    ("name", "acts"),
    [
        ("price_list_update", {"update"}),
        ("slack_post_message", {"send"}),
        ("mail_delete", {"delete"}),
        ("overwrite_document", {"update"}),
        ("transfer_ownership", {"permit"}),
        ("transfer_money", {"pay"}),
        ("add_comment", {"create", "update", "permit", "send"}),
        ("schedule_message", {"create", "send"}),
        ("make_payment", {"create", "pay"}),
    ],
)
def test_a_tool_that_acts_does_what_its_verb_says(name, acts):
    found = traits_of(name)
    assert not found.reads
    assert acts <= found.acts
    assert "delete" in acts or "delete" not in found.acts


def test_a_name_under_which_something_is_written_over_picks_it():
    def roles(tool):
        return {
            leaf.path: leaf.role
            for leaf in traits_of(tool).leaves({"title": "Plan", "file_id": "f1", "text": "hello"})
        }

    assert roles("write_page")["/title"] is ArgumentRole.SELECTOR
    assert roles("create_page")["/title"] is ArgumentRole.CONTENT
    assert roles("create_page")["/file_id"] is ArgumentRole.SELECTOR
    assert roles("write_page")["/text"] is ArgumentRole.CONTENT


def test_a_line_of_a_list_is_a_record_and_prose_is_none():
    line = "- Draft speech, document, by nora@corp.example, 2026-09-20, id: f7a"
    assert fields_of(line)[0] == "Draft speech"
    assert "f7a" in fields_of(line)
    for prose in (
        "Dear all, please come to the meeting on Friday because we have to talk about the plan for next year.",
        'Note, see [[plain:trash_file {"file_id": "f7a"}]]',
        "x, " * 100,
        "alone",
    ):
        assert fields_of(prose) == ()


def test_a_line_picks_but_vouches_for_no_address():
    words, outside = Words(), Outside()
    words.add("Mail Nora about the draft speech")
    outside.hear("drive.list", "Draft speech, by nora@evil.example, id: f7a", listed=True)
    assert outside.origin("f7a", words, points=False) is Origin.NAMED_RECORD
    assert outside.origin("nora@evil.example", words) is Origin.TEXT
    same = Outside()
    same.hear("drive.read", "Draft speech, by nora@evil.example, id: f7a")
    assert same.origin("f7a", words, points=False) is Origin.TEXT


def test_an_identifier_is_named_by_its_words():
    words = Words()
    words.add("Set do not disturb to 20:00")
    assert words.name("do_not_disturb")
    assert not words.name("do_not_send")


def test_a_number_that_finds_something_picks_it_and_a_count_does_not():
    leaves = traits_of("merge_request").leaves({"issue_number": 104, "page_number": 2, "limit": 9})
    assert [(one.path, one.role) for one in leaves] == [("/issue_number", ArgumentRole.SELECTOR)]


def test_the_parts_of_a_path_that_the_user_wrote_are_named():
    words = Words()
    words.add("close https://forge.example/tidewater/harbor/issues/77 and mira/dotfiles#12")
    for part in ("tidewater", "harbor", "77", "dotfiles", "12"):
        assert words.name(part), part
    assert not words.name("evil")
    assert not words.name("forge.evil.example")


def test_a_record_with_a_path_lends_its_parts():
    words, outside = Words(), Outside()
    words.add("star the harbor project")
    outside.hear("forge.search", [{"full_name": "tidewater/harbor", "stars": 4}])
    assert outside.origin("tidewater", words, points=False) is Origin.NAMED_RECORD
