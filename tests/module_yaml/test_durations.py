from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statefun_flask.module_yaml import durations


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("5", 5),
        ("5ms", 5),
        ("2 min", 120_000),
        ("2MIN", 120_000),
        ("1m", 60_000),
        (" 3 seconds ", 3000),
        ("1d", 86_400_000),
        ("7 hours", 25_200_000),
        ("2000µs", 2),
        ("3000000 ns", 3),
        ("0s", 0),
    ],
)
def test_durations_of_the_runtime_are_read(text: str, milliseconds: int) -> None:
    assert durations.parse(text) == dt.timedelta(milliseconds=milliseconds)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("2mins", "Did you mean '2min'?"),
        ("3hrs", "Did you mean '3h'?"),
        ("5us", "Did you mean '5µs'?"),
        ("1.5s", "Did you mean '1500ms'?"),
        ("0,5 h", "Did you mean '30min'?"),
        ("1:30", "Did you mean '90min'?"),
        ("PT2M", ""),
        ("-5s", ""),
        ("s", ""),
        ("", ""),
        ("5 fortnights", ""),
        ("9" * 30 + "d", "The number is too large."),
        ("9" * 5000 + "d", "The number is too large."),
        ("9" * 20 + ".9d", ""),
        ("9" * 5000 + ".9d", ""),
        ("9" * 5000 + ":00", ""),
        ("9000000000000d", "The number is too large."),
    ],
)
def test_durations_that_the_runtime_refuses_are_refused(text: str, hint: str) -> None:
    with pytest.raises(ValueError) as info:  # noqa: PT011
        durations.parse(text)

    assert str(info.value) == hint


@given(st.timedeltas(dt.timedelta(), dt.timedelta(days=100_000)))
def test_written_durations_are_read_back(span: dt.timedelta) -> None:
    assert durations.parse(durations.written(span)) == span
