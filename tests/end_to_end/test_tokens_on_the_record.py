"""Who may call is on the record: tokens are issued and ended in the ledger, and never stand in it."""

import json

from hive.testing.node_process import node_process


def test_a_token_leaves_its_marks_in_the_ledger_and_its_secret_does_not(tmp_path):
    with node_process(tmp_path / "state") as node:
        made = json.loads(node.hive("token", "issue", "alice", "--json"))
        token_id = made["summary"]["id"]
        node.hive("token", "revoke", token_id)
        text = node.hive("audit", "tail", "-n", "100", "--json")
        lines = [json.loads(line) for line in text.splitlines()]
        names = [line["name"] for line in lines if token_id in json.dumps(line)]
        assert names == ["token.issued", "token.revoked"]
        assert made["token"].rsplit(".", 1)[1] not in text
