from __future__ import annotations

import datetime as dt
import pathlib
import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statefun_flask import Context
from statefun_flask import Effects
from statefun_flask import FunctionRegistry
from statefun_flask import ValueSpec
from statefun_flask.module_yaml import ModuleError
from statefun_flask.module_yaml.lock import Entry
from statefun_flask.module_yaml.lock import Lock

HOUR = dt.timedelta(hours=1)


def greet(context: Context, name: str) -> Effects:
    return Effects()


def locked(*specs: ValueSpec[t.Any]) -> Lock:
    registry = FunctionRegistry()
    registry.register("example/greeter", greet, states=specs)
    return Lock.of(registry)


BASE = locked(ValueSpec("seen", int), ValueSpec("last", str, expire_after_write=HOUR))


def test_the_file_is_sorted_json() -> None:
    assert (
        BASE.text()
        == """\
{
  "version": 1,
  "states": {
    "example/greeter": {
      "last": {
        "type": "io.statefun.types/string",
        "expire": "1h",
        "after": "write"
      },
      "seen": {
        "type": "io.statefun.types/long"
      }
    }
  }
}
"""
    )


def test_an_unchanged_app_has_no_finding() -> None:
    assert BASE.check(BASE) == []


@pytest.mark.parametrize(
    ("specs", "message"),
    [
        (
            [ValueSpec("seen", float), ValueSpec("last", str, expire_after_write=HOUR)],
            (
                "statefun.lock: The state 'example/greeter/seen' was of type"
                " 'io.statefun.types/long' and is now of type 'io.statefun.types/double', which"
                " ends a job that holds it. Give it a new name, or run 'flask statefun lock"
                " --accept example/greeter/seen' if no job holds it."
            ),
        ),
        (
            [ValueSpec("seen", int), ValueSpec("last", str)],
            (
                "statefun.lock: The state 'example/greeter/last' expired 1h after write and now"
                " never expires: a job that holds it ends, and cannot be restored from its"
                " checkpoints. Give it a new name, or run 'flask statefun lock --accept"
                " example/greeter/last' if no"
                " job holds it."
            ),
        ),
        (
            [ValueSpec("seen", int), ValueSpec("last", str, expire_after_call=2 * HOUR)],
            (
                "statefun.lock: warning: The state 'example/greeter/last' expired 1h after write"
                " and now expires 2h after invoke, which a job does only after it is restarted,"
                " and then for the values that it has too. Restart the job, and run 'flask"
                " statefun lock --accept example/greeter/last'."
            ),
        ),
        (
            [ValueSpec("last", str, expire_after_write=HOUR)],
            (
                "statefun.lock: warning: The state 'example/greeter/seen' is no longer declared:"
                " its values stay in every checkpoint of a job that holds it, and are sent with"
                " every request until it is restarted. Declare it again, or run 'flask statefun"
                " lock --accept example/greeter/seen'."
            ),
        ),
        (
            [
                ValueSpec("seen", int),
                ValueSpec("last", str, expire_after_write=HOUR),
                ValueSpec("new", str),
            ],
            (
                "statefun.lock: warning: The state 'example/greeter/new' is not in the lock. Run"
                " 'flask statefun lock', and commit the file."
            ),
        ),
    ],
)
def test_a_change_is_graded(specs: list[ValueSpec[t.Any]], message: str) -> None:
    assert [str(each) for each in BASE.check(locked(*specs))] == [message]


def test_new_states_are_added_and_vanished_ones_must_be_accepted() -> None:
    app = locked(ValueSpec("last", str, expire_after_write=HOUR), ValueSpec("new", int))

    assert [each.code for each in BASE.refused(app, ())] == ["vanished-state"]
    assert BASE.refused(app, ("example/greeter/seen",)) == []


def test_a_missing_file_is_not_a_lock(tmp_path: pathlib.Path) -> None:
    assert Lock.read(tmp_path / "statefun.lock") is None


@pytest.mark.parametrize(
    "text", ["{", '{"version": 2, "states": {}}', '{"version": 1, "states": {"a/b": {"c": 5}}}']
)
def test_a_file_that_is_not_a_lock_is_refused(tmp_path: pathlib.Path, text: str) -> None:
    path = tmp_path / "statefun.lock"
    path.write_text(text)

    with pytest.raises(ModuleError) as info:
        Lock.read(path)

    assert str(info.value).startswith(f"{path}: The lock cannot be read: ")
    assert str(info.value).endswith(
        ". Restore it from version control, or remove it and run 'flask statefun lock'."
    )


lives = st.none() | st.tuples(
    st.timedeltas(dt.timedelta(milliseconds=1), dt.timedelta(days=9999)),
    st.sampled_from(["after-write", "after-invoke"]),
)
fields = st.dictionaries(st.text(min_size=1, max_size=5), st.sampled_from(["string", "integer"]))
entries = st.builds(Entry, st.sampled_from(["a/T", "b/T"]), lives, fields)


@given(st.dictionaries(st.sampled_from(["a/b/c", "a/b/d", "x/y/z"]), entries))
def test_a_written_lock_is_read_back(made: dict[str, Entry]) -> None:
    lock = Lock(made)

    assert Lock.parse(lock.text().encode()).entries == lock.entries
