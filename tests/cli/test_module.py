"""The commands about module.yaml and the lock."""

from __future__ import annotations

import collections.abc as cabc
import datetime as dt
import json
import os
import pathlib
import typing as t

import pytest
from click.testing import Result

from statefun_flask import Context
from statefun_flask import Effects
from statefun_flask import StateFunFlask
from statefun_flask import ValueSpec

Run = cabc.Callable[..., Result]


def greet(context: Context, name: str) -> Effects:
    return Effects()


def app_with(*states: ValueSpec[t.Any] | str, name: str = "greetings") -> StateFunFlask:
    app = StateFunFlask(name)
    app.statefun("example/greeter", states=states, egresses=["example/greets"])(greet)
    return app


def run(app: StateFunFlask, *arguments: str) -> Result:
    return app.test_cli_runner().invoke(args=["statefun", *arguments])


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: pathlib.Path) -> cabc.Iterator[None]:
    before = pathlib.Path.cwd()
    os.chdir(tmp_path)
    yield
    os.chdir(before)


MADE = """\
# The records of 'names' must be protobuf's wrapper of a value; utf8_type types are for plain text.
kind: io.statefun.endpoints.v2/http
spec:
  functions: example/*
  urlPathTemplate: http://app:8000/statefun
---
kind: io.statefun.kafka.v1/ingress
spec:
  id: example/ingress
  address: kafka:9092
  consumerGroupId: greetings
  topics:
    - topic: names
      valueType: io.statefun.types/string
      targets:
        - example/greeter
---
kind: io.statefun.kafka.v1/egress
spec:
  id: example/greets
  address: kafka:9092
"""
KAFKA = ("--kafka", "kafka:9092", "--ingress", "names=example/greeter")


def test_module_writes_a_file_that_names_its_command() -> None:
    result = run(app_with(), "module", *KAFKA, "--endpoint", "http://app:8000")

    assert result.exit_code == 0
    comment, _, text = result.output.partition("\n")
    assert comment == (
        "# Made by: flask statefun module --endpoint http://app:8000 --kafka kafka:9092"
        " --ingress names=example/greeter"
    )
    assert text == MADE


@pytest.mark.parametrize("version", ["3", "3.0", "2.0", "1.0"])
def test_check_finds_nothing_in_a_generated_module(version: str) -> None:
    app = app_with("seen")
    more = ("--egress", "other/out", "--group", "g", "--exactly-once", "--format", version)
    pathlib.Path("module.yaml").write_text(run(app, "module", *KAFKA, *more).output)

    result = run(app, "check", "module.yaml")

    assert (result.exit_code, result.output) == (0, "module.yaml: no findings.\n")


def test_module_converts_a_file() -> None:
    app = app_with("seen")
    old = run(app, "module", *KAFKA, "--format", "1.0").output
    pathlib.Path("old.yaml").write_text(old)

    converted = run(app, "module", "--from", "old.yaml", "--format", "2.0").output

    assert "name: seen" in converted
    pathlib.Path("new.yaml").write_text(converted)
    back = run(app, "module", "--from", "new.yaml", "--format", "1.0").output
    assert back.splitlines()[1:] == old.splitlines()[1:]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("--ingress", "names"),
            "'names' is not a topic and a function. Write TOPIC=namespace/name.",
        ),
        (
            ("--ingress", "names=greeter"),
            "'greeter' is not a typename. Write it as 'namespace/name', with one slash.",
        ),
        (
            ("--egress", "greets"),
            "'greets' is not a typename. Write it as 'namespace/name', with one slash.",
        ),
        (
            ("--kafka", "kafka", "--ingress", "names=example/greeter"),
            "Error: 'kafka' is not the address of a broker. Write 'kafka:9092'.\n",
        ),
        (
            ("--from", "nowhere.yaml"),
            (
                "nowhere.yaml: The file cannot be read: No such file or directory. Name the app's"
                " module file."
            ),
        ),
    ],
)
def test_module_refuses_wrong_options(arguments: tuple[str, ...], message: str) -> None:
    result = run(app_with(), "module", *arguments)

    assert result.exit_code != 0
    assert message in result.output


def test_1_0_refuses_a_state_that_expires() -> None:
    app = app_with(ValueSpec("seen", int, expire_after_write=dt.timedelta(hours=1)))

    result = run(app, "module", *KAFKA, "--format", "1.0")

    assert result.exit_code == 1
    assert result.output == (
        "Error: The state 'seen' of 'example/greeter' expires, which format 1.0 cannot express: it"
        " would stay for ever. Write format 2.0, which StateFun 2.2 and later read.\n"
    )


BROKEN = """\
kind: io.statefun.endpoints.v2/http
spec:
  functions: greeter
  urlPathTemplate: http://app:8000/statefun
"""


def test_check_lists_findings_and_fails() -> None:
    pathlib.Path("module.yaml").write_text(BROKEN)

    result = run(app_with(), "check", "module.yaml", "nowhere.yaml")

    assert result.exit_code == 1
    assert result.output == (
        "nowhere.yaml: The file cannot be read: No such file or directory. Name the app's module"
        " file.\n"
        "module.yaml:3:14: spec.functions: 'greeter' is not the name of a function. Write it as"
        " 'namespace/name' or 'namespace/*', with one slash.\n"
        "module.yaml, nowhere.yaml: 2 errors, 0 warnings.\n"
    )


def test_check_writes_json() -> None:
    pathlib.Path("module.yaml").write_text(BROKEN)

    result = run(app_with(), "check", "module.yaml", "--format", "json")

    assert result.exit_code == 1
    assert json.loads(result.output) == {
        "compared": ["module.yaml"],
        "findings": [
            {
                "code": "bad-name",
                "text": "'greeter' is not the name of a function.",
                "fix": "Write it as 'namespace/name' or 'namespace/*', with one slash.",
                "path": "spec.functions",
                "file": "module.yaml",
                "line": 3,
                "column": 14,
                "severity": "error",
            }
        ],
    }


def test_check_writes_annotations_for_github() -> None:
    pathlib.Path("50%,a.yaml").write_text(BROKEN.replace("greeter", "100%"))

    result = run(app_with(), "check", "50%,a.yaml", "--format", "github")

    assert result.output == (
        "::error file=50%25%2Ca.yaml,line=3,col=14,title=bad-name::spec.functions: '100%25' is not"
        " the name of a function. Write it as 'namespace/name' or 'namespace/*', with one slash.\n"
    )


@pytest.mark.parametrize("output", ["text", "json", "github"])
def test_check_writes_no_character_that_a_terminal_acts_on(output: str) -> None:
    name = r'"\e]0;title\a\n::error::forged\u009b31m\u202e\r"'
    pathlib.Path("module.yaml").write_text(BROKEN.replace("greeter", name))

    lines = run(app_with(), "check", "module.yaml", "--format", output).output.split("\n")

    assert all(line.isprintable() for line in lines)
    assert not any(line.startswith("::error::forged") for line in lines)
    assert any("forged" in line for line in lines)


def test_check_compares_with_the_app() -> None:
    pathlib.Path("module.yaml").write_text(BROKEN.replace("greeter", "example/greeter"))

    result = run(app_with(), "check", "module.yaml")

    assert result.exit_code == 1
    assert "no ingress" in result.output
    assert "egress 'example/greets'" in result.output
    assert result.output.endswith("module.yaml: 2 errors, 0 warnings.\n")


def test_check_without_files_checks_the_module_file_and_the_lock_of_the_folder() -> None:
    app = app_with("seen")
    good = run(app, "module", *KAFKA).output
    pathlib.Path("module.yaml").write_text(good)
    run(app, "lock")
    assert run(app, "check").output == "module.yaml, statefun.lock: no findings.\n"

    pathlib.Path("module.yaml").write_text(good.replace("example/greeter", "example/greetr"))
    wrong = run(app, "check")

    assert wrong.exit_code == 1
    assert "The app has no function 'example/greetr'." in wrong.output
    assert wrong.output.endswith("module.yaml, statefun.lock: 1 error, 0 warnings.\n")


@pytest.mark.parametrize("output", ["text", "json", "github"])
def test_check_fails_if_there_is_nothing_to_check(output: str) -> None:
    result = run(app_with("seen"), "check", "--format", output)

    assert result.exit_code == 2
    assert result.output.endswith(
        "Error: There is nothing to check: neither 'module.yaml' nor 'statefun.lock' exists here."
        " Name a module file, or write one with 'flask statefun module'.\n"
    )


def test_check_fails_without_the_lock_that_was_named() -> None:
    result = run(app_with("seen"), "check", "--lock", "other.lock")

    assert result.exit_code == 2
    assert "The lock 'other.lock' does not exist. Correct --lock" in result.output


def test_check_tells_github_what_it_compared() -> None:
    run(app_with("seen"), "lock")

    result = run(app_with("seen"), "check", "--format", "github")

    assert result.output == "::notice title=statefun::statefun.lock: no findings.\n"


def test_module_says_that_no_function_declares_an_egress() -> None:
    app = StateFunFlask("greetings")
    app.statefun("example/greeter")(greet)

    result = run(app, "module", *KAFKA)

    assert result.exit_code == 0
    warning = (
        "No function declares an egress, and module.yaml has none. A function that writes records"
        ' needs egresses=["namespace/name"] at its registration, or --egress here.\n'
    )
    assert warning in result.output
    assert warning not in run(app_with(), "module", *KAFKA).output


def test_check_without_a_module_file_checks_the_lock() -> None:
    assert run(app_with("seen"), "lock").output == "'statefun.lock' has 1 state, 1 of them new.\n"
    assert run(app_with("seen"), "check").exit_code == 0

    result = run(app_with(ValueSpec("seen", int)), "check")

    assert result.exit_code == 1
    assert result.output.startswith("statefun.lock: The state 'example/greeter/seen' was of type")


def test_lock_adds_and_refuses_changes_that_are_not_accepted() -> None:
    run(app_with("seen"), "lock")
    before = pathlib.Path("statefun.lock").read_text()
    app = app_with(ValueSpec("seen", int), "new")

    refused = run(app, "lock")
    assert refused.exit_code == 1
    assert refused.output.startswith("Error: 'statefun.lock' was not written.\n")
    assert pathlib.Path("statefun.lock").read_text() == before

    accepted = run(app, "lock", "--accept", "example/greeter/seen")
    assert accepted.output == "'statefun.lock' has 2 states, 1 of them new.\n"
    assert run(app, "check").exit_code == 0
    assert [path.name for path in pathlib.Path().iterdir()] == ["statefun.lock"]


def test_lock_accepts_only_locked_states() -> None:
    run(app_with("seen"), "lock")

    result = run(app_with("seen"), "lock", "--accept", "example/greeter/sen")

    assert result.exit_code == 2
    assert (
        "'example/greeter/sen' is not in 'statefun.lock', so there is nothing to accept. Did you"
        " mean 'example/greeter/seen'? Write 'namespace/name/state'."
    ) in result.output
