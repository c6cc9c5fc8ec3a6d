from __future__ import annotations

import logging

from statefun_flask.flink.repeats import Repeats


def record(
    error: Exception | None, message: str = "A stateful function failed"
) -> logging.LogRecord:
    info = None if error is None else (type(error), error, None)
    return logging.LogRecord("app", logging.ERROR, "views.py", 1, message, None, info)


def test_the_same_exception_is_logged_once_in_a_while() -> None:
    now = 0.0
    repeats = Repeats(lambda: now)
    assert repeats.filter(record(ValueError("no such person")))
    now = 9.0
    assert not repeats.filter(record(ValueError("no such person")))
    now = 10.0
    assert repeats.filter(record(ValueError("no such person")))


def test_other_exceptions_and_plain_records_pass() -> None:
    repeats = Repeats(lambda: 0.0)
    assert repeats.filter(record(ValueError("a")))
    assert repeats.filter(record(ValueError("b")))
    assert repeats.filter(record(TypeError("a")))
    assert repeats.filter(record(None))
    assert repeats.filter(record(None))
