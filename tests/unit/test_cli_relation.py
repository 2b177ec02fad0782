"""`hive relation`: what it sends to a node, what it prints, and what the tab key offers."""

import json
from typing import ClassVar

import pytest
from click.testing import CliRunner

from hive.cli import completion
from hive.cli.client import OperatorClient
from hive.cli.entry import root
from hive.web.relations import (
    RelatedView,
    RelationAnswer,
    RelationLine,
    RelationModelView,
    RelationWritten,
)

SHARED = RelationLine(object="document:plan", relation="viewer", subject="group:staff#member")


@pytest.fixture
def node(monkeypatch):
    """Answer as a node would; keep what was asked."""
    asked: list = []
    answers = {
        "relations": [SHARED],
        "relation-names": ["document#viewer", "document#owner", "group#member"],
        "relation-model": RelationModelView(model="model\n  schema 1.1\n"),
        "relation-objects": RelatedView(objects=("document:plan",), complete=False, revision="4"),
    }

    def get(_self, path, _shape, **_more):
        asked.append((path, None))
        return answers[path.partition("?")[0].partition("/")[0]]

    def post(_self, path, shape, body, **_more):
        asked.append((path, body))
        if shape is RelationWritten:
            return RelationWritten(revision="5")
        if shape is RelationModelView:
            return RelationModelView(model=body.model, revision="6")
        fault = "too deep" if body.subject == "user:deep" else ""
        allowed = body.subject == "user:ann"
        return RelationAnswer(allowed=allowed, revision="4", fault=fault, lines=("yes a#b",))

    monkeypatch.setattr(OperatorClient, "get", get)
    monkeypatch.setattr(OperatorClient, "post", post)
    return asked


def hive(*arguments: str, stdin: str | None = None):
    return CliRunner().invoke(root, ["relation", *arguments], input=stdin, standalone_mode=False)


def test_a_check_ends_with_its_answer(node):
    assert hive("check", "document:plan", "viewer", "user:ann").return_value == 0
    done = hive("check", "document:plan", "viewer", "user:bob", "--at", "3")
    assert (done.return_value, done.stdout) == (1, "yes a#b\nno, at revision 4\n")
    assert node[-1][1].at == "3"
    deep = hive("check", "document:plan", "viewer", "user:deep")
    assert deep.return_value == 1
    assert "no answer, which is no yes: too deep" in deep.stdout
    told = json.loads(hive("explain", "document:plan", "viewer", "user:ann", "--json").stdout)
    assert told["lines"] == ["yes a#b"]


def test_writes_carry_their_conditions(node):
    hive("add", "document:plan", "viewer", "group:staff#member", "--new", "--at", "4")
    assert node[-1][1].added == node[-1][1].absent == (SHARED,)
    assert node[-1][1].at == "4"
    done = hive("rm", "document:plan", "viewer", "group:staff#member", "--there")
    assert node[-1][1].removed == node[-1][1].present == (SHARED,)
    assert done.stdout == "Taken away, revision 5.\n"


def test_lists_are_filtered_by_the_node_and_say_where_they_end(node):
    done = hive("list", "--object", "document:", "--subject", "group:staff#member")
    assert node[-1][0] == "relations?object=document%3A&subject=group%3Astaff%23member"
    assert "group:staff#member" in done.stdout
    done = hive("objects", "document", "viewer", "user:ann")
    assert "document:plan" in done.stdout
    assert "There may be more" in done.stdout + done.stderr


def test_a_model_is_loaded_from_a_file_or_standard_input(node, tmp_path):
    file = tmp_path / "house.fga"
    file.write_text("model\n  schema 1.1\n")
    assert "revision 6" in hive("model", "load", str(file)).stdout
    hive("model", "load", "-", stdin="model\n")
    assert node[-1][1].model == "model\n"
    assert "schema 1.1" in hive("model", "show").stdout


def test_the_tab_key_knows_objects_relations_and_subjects(node):
    class Context:
        parent = None
        params: ClassVar = {"thing": "document:plan", "state": None}

    assert completion.related_things(Context, None, "doc") == ["document:plan"]
    assert completion.relation_names(Context, None, "") == ["owner", "viewer"]
    assert completion.relation_subjects(Context, None, "g") == ["group:staff#member"]
