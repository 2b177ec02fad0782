"""Tetragon's language as far as it is taken: what it becomes, and what is refused by name."""

import hashlib
import textwrap
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hive.core.errors import BadInputError, ConfigError, NotFoundError, PolicyError, SandboxError
from hive.core.kernel_rules import KernelAct, KernelAnswer, KernelRule, connection_rule
from hive.execution import enforcement
from hive.execution.enforcement.rows import PORTS_MAX, SLOTS, rows_of
from hive.security.kernel_policy import KernelPolicies, read_policies

HEAD = """\
apiVersion: cilium.io/v1alpha1
kind: TracingPolicy
metadata: {name: x}
spec:
"""
OPEN = """\
kprobes:
- call: fd_install
  syscall: false
  args: [{index: 1, type: file}]
  selectors:
"""
CONNECT = """\
kprobes:
- call: tcp_connect
  syscall: false
  args: [{index: 0, type: sock}]
  selectors:
"""


def written(spec, head=HEAD):
    return (head + textwrap.indent(spec, "  ")).encode()


def rules_of(spec):
    (policy,) = read_policies(written(spec))
    return policy.kernel


def selector(*lines):
    return "  - " + "\n    ".join(lines) + "\n"


def on(path, operator="Equal"):
    return f"matchArgs: [{{index: 1, operator: {operator}, values: [{path}]}}]"


KILL = "matchActions: [{action: Sigkill}]"


def test_a_file_and_a_folder():
    (rule,) = rules_of(OPEN + selector(on("/etc/shadow"), KILL))
    assert (rule.act, rule.answer, rule.path, rule.below) == (
        KernelAct.OPEN,
        KernelAnswer.KILL,
        "/etc/shadow",
        False,
    )
    (rule,) = rules_of(OPEN + selector(on("/etc/ssh/", "Prefix"), KILL))
    assert (rule.path, rule.below) == ("/etc/ssh", True)


def test_programs_belong_to_their_selector_alone():
    """Where they were joined over selectors, one selector's exception would be that of another."""
    spec = (
        OPEN
        + selector(on("/a"), "matchBinaries: [{operator: In, values: [/bin/one]}]", KILL)
        + selector(on("/b"), "matchBinaries: [{operator: NotIn, values: [/bin/two]}]", KILL)
    )
    found = {rule.path: (rule.programs, rule.besides) for rule in rules_of(spec)}
    assert found == {"/a": (("/bin/one",), False), "/b": (("/bin/two",), True)}


def test_the_first_selector_decides():
    """A milder one in front takes its programs out of what follows."""
    spec = (
        OPEN
        + selector(
            "matchBinaries: [{operator: In, values: [/bin/one]}]",
            "matchActions: [{action: NoPost}]",
        )
        + selector(on("/a"), KILL)
    )
    (rule,) = rules_of(spec)
    assert (rule.programs, rule.besides, rule.answer) == (("/bin/one",), True, KernelAnswer.KILL)


def test_a_milder_selector_that_overlaps_is_refused():
    spec = OPEN + selector(on("/a")) + selector(on("/a"), KILL)
    with pytest.raises(PolicyError, match="milder and decides first"):
        rules_of(spec)


def test_networks_and_ports():
    spec = CONNECT + selector(
        "matchArgs:",
        "- {index: 0, operator: DAddr, values: [10.0.0.0/8, 2001:db8::/32]}",
        '- {index: 0, operator: DPort, values: ["443", "8000:8001"]}',
        KILL,
    )
    rules = rules_of(spec)
    assert {(rule.network, rule.ports, rule.protocols) for rule in rules} == {
        ("10.0.0.0/8", (443, 8000, 8001), ("tcp",)),
        ("2001:db8::/32", (443, 8000, 8001), ("tcp",)),
    }
    met = connection_rule(rules, "10.1.2.3", 443)
    assert met is not None
    assert met.network == "10.0.0.0/8"
    assert connection_rule(rules, "::ffff:10.1.2.3", 8001) is not None
    assert connection_rule(rules, "10.1.2.3", 80) is None
    assert connection_rule(rules, "11.1.2.3", 443) is None


def test_an_agent_is_named_by_its_label():
    head = HEAD + "  podSelector: {matchLabels: {app.kubernetes.io/name: clerk}}\n"
    (policy,) = read_policies(written(OPEN + selector(on("/a"), KILL), head))
    assert policy.agents.covers("clerk")
    assert not policy.agents.covers("other")


REFUSED = {
    "another kind": (b"apiVersion: v1\nkind: Pod\n", "'Pod' is outside"),
    "a field of no use here": (
        written(OPEN + selector(on("/a"), KILL) + "uprobes: []\n"),
        "uprobes",
    ),
    "an unknown hook": (written("kprobes: [{call: sys_write}]\n"), "the hook 'sys_write'"),
    "an operator": (written(OPEN + selector(on("/a", "Postfix"), KILL)), "Postfix"),
    "an action": (
        written(OPEN + selector(on("/a"), "matchActions: [{action: FollowFD}]")),
        "FollowFD",
    ),
    "an override where none can be": (
        written(OPEN + selector(on("/a"), "matchActions: [{action: Override, argError: -1}]")),
        "Override",
    ),
    "another signal": (
        written(OPEN + selector(on("/a"), "matchActions: [{action: Signal, argSig: 15}]")),
        "Signal",
    ),
    "a relative path": (written(OPEN + selector(on("etc/shadow"), KILL)), "no plain full path"),
    "a way up": (written(OPEN + selector(on("/etc/../shadow"), KILL)), "no plain full path"),
    "half a name": (written(OPEN + selector(on("/etc/sha", "Prefix"), KILL)), "ends inside a name"),
    "an undeclared argument": (
        written(
            "kprobes:\n- call: fd_install\n  syscall: false\n  selectors:\n"
            + selector(on("/a"), KILL)
        ),
        "argument",
    ),
    "programs of a connection": (
        written(CONNECT + selector("matchBinaries: [{operator: In, values: [/bin/nc]}]", KILL)),
        "does not see the program",
    ),
    "a refused call that is only told": (
        written("tracepoints: [{subsystem: syscalls, event: sys_enter_ptrace}]\n"),
        "cannot be posted",
    ),
    "an alias": (b"a: &x 1\nb: *x\n", "anchors and aliases"),
    "a key twice": (b"a: 1\na: 2\n", "stands there twice"),
    "a tag": (b"a: !!python/object:os.system 1\n", "tags"),
    "nothing": (b"", "no policy"),
    "no text": (b"\xff\xfe", "no UTF-8"),
    "too much": (b"#" * ((1 << 20) + 1), "more than"),
    "too deep": (b"[" * 100, "nested deeper"),
    "an unknown label": (
        written(OPEN, HEAD + "  podSelector: {matchLabels: {tier: gold}}\n"),
        "no label 'tier'",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_outside_is_refused_by_name(name):
    data, why = REFUSED[name]
    with pytest.raises(PolicyError) as caught:
        read_policies(data)
    assert why in caught.value.why
    assert "line " in caught.value.why


@settings(max_examples=300, deadline=None)
@given(
    st.binary(max_size=400)
    | st.text(alphabet="a:-[]{} \n&*!|>?\"'#,/1", max_size=400).map(str.encode)
)
def test_no_bytes_do_more_than_be_refused(data):
    with pytest.raises(PolicyError):
        read_policies(data)


def test_files_are_kept_whole_or_not_at_all(tmp_path):
    folder = tmp_path / "kept"
    shelf = KernelPolicies(folder)
    good = written(OPEN + selector(on("/a"), KILL))
    shelf.put("one", good)
    with pytest.raises(PolicyError):
        shelf.put("one", b"kind: nothing")
    assert [rule.path for rule in shelf.rules_of("anybody")] == ["/a"]
    again = KernelPolicies(folder)
    again.load()
    assert again.rules_of("anybody") == shelf.rules_of("anybody")
    with pytest.raises(BadInputError):
        shelf.put("../one", good)
    with pytest.raises(NotFoundError):
        shelf.drop("two")
    shelf.drop("one")
    assert shelf.rules_of("anybody") == ()
    assert list(folder.iterdir()) == []


def test_a_file_that_was_broken_on_disk_stops_the_start(tmp_path):
    shelf = KernelPolicies(tmp_path)
    shelf.put("one", written(OPEN + selector(on("/a"), KILL)))
    (tmp_path / "one.yaml").write_bytes(b"kind: Tra")
    with pytest.raises(ConfigError, match=r"one\.yaml cannot be read"):
        KernelPolicies(tmp_path).load()


def test_more_than_the_kernel_holds_is_said_before():
    rules = [
        KernelRule(name="x", act=KernelAct.OPEN, path="/", programs=(f"/{n}",))
        for n in range(SLOTS + 1)
    ]
    with pytest.raises(SandboxError) as caught:
        rows_of(tuple(enumerate(rules)), 1, "")
    assert "about the same place" in caught.value.why
    ports = tuple(range(1, PORTS_MAX + 2))
    rule = KernelRule(name="x", act=KernelAct.CONNECT, ports=ports)
    with pytest.raises(SandboxError) as caught:
        rows_of(((1, rule),), 1, "")
    assert "ports" in caught.value.why


def test_the_objects_were_made_of_the_source():
    folder = Path(enforcement.__file__).parent / "bpf"
    digest = hashlib.sha256((folder / "guard.bpf.c").read_bytes()).hexdigest()
    assert (folder / "guard.sha256").read_text().strip() == digest
    made = {path.name for path in folder.glob("*.o")}
    assert made == {
        f"{form}.{machine}.o"
        for form in ("guard", "guard_lsm")
        for machine in ("x86_64", "aarch64")
    }
