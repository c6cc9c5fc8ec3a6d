"""Egress records: their contents and their order."""

from __future__ import annotations

import typing as t

import pytest
from behaving import Step

from statefun_flask import BOOL
from statefun_flask import INT

Suite: t.TypeAlias = t.Any


@pytest.mark.parametrize(
    ("key", "type", "value"),
    [
        ("text", str, "☃"),
        ("bytes", bytes, b"\x00\xff"),
        ("empty", bytes, b""),
        ("int", INT, 7),
        ("bool", BOOL, True),
        ("json", Step, Step("say", "hello")),
        ("kéy/☃", str, "key"),
        (None, str, "no key"),
    ],
)
def test_a_record_has_the_value_that_the_function_wrote(
    suite: Suite, key: str | None, type: t.Any, value: object
) -> None:
    records = suite.engine.records("kinds", 8)
    (record,) = (each for each in records if each.key == key)
    assert record.as_type(type) == value


def test_records_of_one_function_keep_their_order(suite: Suite) -> None:
    records = suite.engine.records("numbers", 100, key="one")
    assert [record.text for record in records] == [str(number) for number in range(100)]


def test_two_egresses_may_write_to_one_topic(suite: Suite) -> None:
    (record,) = suite.engine.records("numbers", 1, key="other")
    assert record.text == "100"
