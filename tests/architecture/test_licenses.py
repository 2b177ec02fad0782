"""No package of the runtime lock has a licence that Hive cannot be shipped with."""

import importlib.util
from importlib.machinery import SourceFileLoader
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def licenses():
    loader = SourceFileLoader("license_list", str(ROOT / "scripts" / "licenses"))
    module = importlib.util.module_from_spec(
        importlib.util.spec_from_loader("license_list", loader)
    )
    loader.exec_module(module)
    return module


def test_every_locked_package_has_a_licence_that_passes(licenses):
    found = {name: licenses.licence_of(name) for name in licenses.locked()}
    installed = {name: told for name, told in found.items() if told is not None}
    assert len(installed) > 30
    assert {
        name: reason
        for name, told in installed.items()
        if (reason := licenses.objection(name, told))
    } == {}


@pytest.mark.parametrize(
    "licence",
    [
        "GPL-3.0-only", "GNU General Public License v2 (GPLv2)", "AGPL-3.0-or-later",
        "GNU Affero General Public License v3", "BUSL-1.1", "SSPL-1.0", "LGPL-3.0-only",
        "GNU Lesser General Public License v3 (LGPLv3)", "MIT AND GPL-2.0", "", "Proprietary",
    ],
)  # fmt: skip
def test_a_licence_that_binds_is_found(licenses, licence):
    assert licenses.objection("some-package", licence)


@pytest.mark.parametrize("licence", ["MIT", "MIT OR GPL-3.0-only", "Apache Software License"])
def test_a_permissive_licence_passes(licenses, licence):
    assert not licenses.objection("some-package", licence)


def test_the_packages_carry_the_licence_of_the_repository():
    assert "Apache License" in (ROOT / "LICENSE").read_text()
    for project in (ROOT / "packages").glob("*/pyproject.toml"):
        assert 'license = "Apache-2.0"' in project.read_text()
        assert (project.parent / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()
