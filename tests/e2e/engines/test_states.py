"""States: their visibility, declaration and expiration."""

from __future__ import annotations

import typing as t

import behaving
import pytest
import scripted

Suite: t.TypeAlias = t.Any


def test_each_id_has_a_state_of_its_own(suite: Suite) -> None:
    for id in ("alice", "bob"):
        assert suite.said(f"counting/one/{id}", 3) == ["one 1", "one 2", "one 3"]


def test_each_function_has_a_state_of_its_own(suite: Suite) -> None:
    assert suite.said("counting/other/alice", 3) == ["other 1", "other 2", "other 3"]


def test_a_message_sees_the_writes_of_earlier_messages_in_the_batch(suite: Suite) -> None:
    said = suite.said("counting/one/batched", 200)
    assert said == [f"again {number}" for number in range(1, 201)]


@pytest.mark.parametrize("kind", behaving.KINDS)
def test_a_default_value_is_a_value_and_a_deleted_state_has_none(suite: Suite, kind: str) -> None:
    spec, value = behaving.KINDS[kind]
    said = suite.said("keeping/kinds/one", 3 * len(behaving.KINDS))
    own = [text for text in said if text.startswith(f"{spec.name} ")]
    assert own == [f"{spec.name} None", f"{spec.name} {value!r}", f"{spec.name} None"]


def test_a_value_expires_after_its_last_write(suite: Suite) -> None:
    assert suite.said("expiring/write/written", 6) == [
        "0: None",
        "1500: first",
        "4000: None",
        "5500: None",
        "7000: second",
        "9500: None",
    ]


def test_a_write_restarts_the_time_to_live(suite: Suite) -> None:
    said = suite.said("expiring/write/rewritten", 3)
    assert said == ["0: None", "1500: first", "3500: second"]


def test_calls_keep_a_value_that_expires_after_the_last_call(suite: Suite) -> None:
    assert suite.said("expiring/call/called", 5) == [
        "0: None",
        "1500: first",
        "3000: first",
        "4500: first",
        "8500: None",
    ]


def test_a_function_without_states_gets_none(suite: Suite) -> None:
    (call,) = suite.calls("scripted/plain/one", 1)
    assert call.states == {}


def test_missing_states_are_attached_unset_and_the_batch_is_sent_again(suite: Suite) -> None:
    first, again, then = suite.calls("scripted/registering/one", 3)
    assert (first.values, first.states) == ([b"1"], {})
    assert (again.values, again.states) == ([b"1"], {"first": None, "second": None})
    assert again.request.invocations == first.request.invocations
    assert {each.state_value.typename for each in again.request.state} == {""}
    assert then.values == [b"2"]
    assert then.states == {"first": None, "second": b"1"}


def test_a_value_is_attached_under_its_registered_type(suite: Suite) -> None:
    then = suite.calls("scripted/registering/one", 3)[2]
    (value,) = (each.state_value for each in then.request.state if each.state_name == "second")
    assert value.typename == scripted.TYPE
    assert value.has_value


def test_another_id_has_the_registered_states_at_once(suite: Suite) -> None:
    (call,) = suite.calls("scripted/registering/two", 1)
    assert call.states == {"first": None, "second": None}


def test_a_state_that_is_declared_late_is_added_to_the_old_one(suite: Suite) -> None:
    first, again, second, third, third_again, fourth = suite.calls("scripted/late/one", 6)
    assert (first.states, again.states) == ({}, {"old": None})
    assert second.states == {"old": b"1"}
    assert (third.values, third.states) == ([b"3"], {"old": b"2"})
    assert (third_again.values, third_again.states) == ([b"3"], {"old": b"2", "new": None})
    assert (fourth.values, fourth.states) == ([b"4"], {"old": b"3", "new": None})


def test_registering_again_changes_nothing(suite: Suite) -> None:
    """The state keeps the missing expiration of its first registration."""
    *_, second, third = suite.calls("scripted/twice/one", 5)
    assert second.states == {"value": b"kept", "more": None}
    assert third.states == {"value": b"kept", "more": None}


def test_a_deleted_state_stays_attached_without_a_value(suite: Suite) -> None:
    _, write, read, delete, read_again = suite.calls("scripted/deleting/one", 5)
    assert write.states == {"value": None}
    assert read.states == delete.states == {"value": b"written"}
    assert read_again.states == {"value": None}


def test_of_several_changes_of_a_state_the_last_one_counts(suite: Suite) -> None:
    read = suite.calls("scripted/mutating/one", 3)[-1]
    assert read.states["last"] == b"3"
    assert read.states["revived"] == b"2"
    assert read.states["gone"] is None


def test_a_written_value_is_one_whatever_it_says_of_itself(suite: Suite) -> None:
    read = suite.calls("scripted/mutating/one", 3)[-1]
    assert read.states["valueless"] == b"bytes"
    assert read.states["empty"] == b""
    assert all(
        each.state_value.has_value
        for each in read.request.state
        if each.state_name in ("valueless", "empty")
    )


def test_the_value_of_a_delete_is_ignored(suite: Suite) -> None:
    *_, delete, read = suite.calls("scripted/delete-with-value/one", 4)
    assert delete.states == {"value": b"written"}
    assert read.states == {"value": None}


def test_a_state_may_have_any_name_that_sdks_allow_or_not(suite: Suite) -> None:
    second = suite.calls("scripted/odd-names/one", 3)[-1]
    assert second.states == {name: name.encode() for name in scripted.ODD_NAMES}


def test_a_state_without_a_type_takes_values_of_none(suite: Suite) -> None:
    *_, named, read = suite.calls("scripted/typeless/one", 4)
    assert named.states == {"value": b"unnamed"}
    (state,) = read.request.state
    assert state.state_value.value == b"named"
    assert state.state_value.typename == "io.statefun.types/unset"


def test_milliseconds_without_an_expiration_mean_nothing(suite: Suite) -> None:
    second = suite.calls("scripted/no-expiration/one", 3)[-1]
    assert second.states == {"value": b"kept"}
