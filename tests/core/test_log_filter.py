"""``context.logger``, ``context.now``, and the fields that the filter puts on every log record."""

from __future__ import annotations

import asyncio
import collections.abc as cabc
import datetime as dt
import logging
import typing as t

import pytest
from to_function import request_bytes

from statefun_flask import Context
from statefun_flask import Effects
from statefun_flask import FunctionRegistry
from statefun_flask import RequestHandler
from statefun_flask import StateFunFlask
from statefun_flask import StateFunLogFilter

elsewhere = logging.getLogger("another.library")


class Records(logging.Handler):
    """Keeps records, with the fields of the filter."""

    def __init__(self) -> None:
        super().__init__()
        self.addFilter(StateFunLogFilter())
        self.records: list[t.Any] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def fields(self) -> list[tuple[t.Any, ...]]:
        return [
            (
                each.getMessage(),
                each.statefun_function,
                each.statefun_id,
                each.statefun_type,
                each.statefun_position,
                each.statefun_messages,
            )
            for each in self.records
        ]


@pytest.fixture
def records() -> cabc.Iterator[Records]:
    handler = Records()
    root = logging.getLogger()
    root.addHandler(handler)
    level = root.level
    root.setLevel(logging.INFO)
    yield handler
    root.setLevel(level)
    root.removeHandler(handler)


def say(message: object) -> Effects:
    elsewhere.info("got %s", message)
    return Effects()


def plain(context: Context, message: str) -> Effects:
    return say(message)


def generated(context: Context, message: str) -> cabc.Iterator[Effects]:
    yield say(message)


async def asynchronous(context: Context, message: str) -> Effects:
    await asyncio.sleep(0)
    return say(message)


async def streamed(context: Context, message: str) -> cabc.AsyncIterator[Effects]:
    await asyncio.sleep(0)
    yield say(message)


async def in_a_task(context: Context, message: str) -> Effects:
    async def speak() -> Effects:
        await asyncio.sleep(0)
        return say(message)

    await asyncio.gather(asyncio.create_task(speak()), return_exceptions=True)
    return Effects()


async def in_a_thread(context: Context, message: str) -> Effects:
    return await asyncio.to_thread(say, message)


async def by_the_logger(context: Context, message: str) -> Effects:
    await asyncio.sleep(0)
    context.logger.info("got %s", message)
    return Effects()


def by_the_logger_at_once(context: Context, message: str) -> Effects:
    context.logger.info("got %s", message)
    return Effects()


FUNCTIONS = [
    plain,
    generated,
    asynchronous,
    streamed,
    in_a_task,
    in_a_thread,
    by_the_logger,
    by_the_logger_at_once,
]


def handler_of(function: t.Any, **options: t.Any) -> RequestHandler:
    registry = FunctionRegistry()
    registry.register("test/fn", function)
    return RequestHandler(registry, **options)


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("debug_checks", [False, True])
@pytest.mark.parametrize("in_a_loop", [False, True])
def test_a_record_names_its_invocation(
    records: Records, function: t.Any, debug_checks: bool, in_a_loop: bool
) -> None:
    handle = handler_of(function, debug_checks=debug_checks)
    body = request_bytes("one", "two", target="test/fn", id="bob")

    if in_a_loop:

        async def answer() -> None:
            await handle.handle_async(body)
            elsewhere.info("outside")

        asyncio.run(answer())
    else:
        handle(body)
        elsewhere.info("outside")

    text = "io.statefun.types/string"
    assert records.fields() == [
        ("got one", "test/fn", "bob", text, 1, 2),
        ("got two", "test/fn", "bob", text, 2, 2),
        ("outside", None, None, None, None, None),
    ]
    assert [each.statefun for each in records.records] == ["test/fn/bob", "test/fn/bob", ""]
    assert [each.statefun_trace for each in records.records] == [None, None, None]


def test_a_failure_leaves_no_invocation_behind(records: Records) -> None:
    async def failing(context: Context, message: str) -> Effects:
        elsewhere.info("before")
        raise LookupError(message)

    with pytest.raises(LookupError):
        handler_of(failing)(request_bytes("one", target="test/fn"))
    elsewhere.info("outside")

    assert [each.statefun for each in records.records] == ["test/fn/bob", ""]


def test_a_sync_function_after_an_async_one_has_its_own_fields(records: Records) -> None:
    def numbers(context: Context, message: int) -> Effects:
        return say(message)

    registry = FunctionRegistry()
    registry.register("test/fn", asynchronous)
    registry.register("test/fn", numbers)
    RequestHandler(registry)(request_bytes("one", 2, "three", target="test/fn"))

    assert [(each.getMessage(), each.statefun_position) for each in records.records] == [
        ("got one", 1),
        ("got 2", 2),
        ("got three", 3),
    ]


def test_nothing_is_built_for_a_record_that_is_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    def quiet(context: Context, message: str) -> Effects:
        context.logger.debug("%s", message)
        return Effects()

    monkeypatch.setattr("statefun_flask.values.invocation_log.fields", None)
    handler_of(quiet)(request_bytes("one", target="test/fn"))


def test_the_logger_is_the_apps(records: Records) -> None:
    app = StateFunFlask("shop")

    @app.statefun("test/fn")
    def function(context: Context, message: str) -> Effects:
        context.logger.info("hello", extra={"statefun_id": "mine", "color": "red"})
        return Effects()

    with app.statefun.runtime() as engine:
        engine.send("test/fn/bob", "one")
        engine.run_until_idle()

    (record,) = [each for each in records.records if each.getMessage() == "hello"]
    assert (record.name, record.statefun_id, record.color) == ("shop", "mine", "red")
    assert record.statefun_type == "io.statefun.types/string"


def test_without_an_app_the_logger_is_the_packages(records: Records) -> None:
    handler_of(by_the_logger_at_once)(request_bytes("one", target="test/fn"))
    Context("test/fn/bob").logger.info("by hand")

    assert [each.name for each in records.records] == ["statefun_flask.functions"] * 2
    assert records.records[1].statefun == "test/fn/bob"
    assert records.records[1].statefun_type is None


def test_the_embedded_engine_knows_the_trace_and_the_time(records: Records) -> None:
    app = StateFunFlask("shop")
    times: list[dt.datetime] = []

    @app.statefun("test/first")
    def first(context: Context, message: str) -> Effects:
        times.append(context.now)
        elsewhere.info("first")
        return Effects().send_after("test/second/bob", dt.timedelta(hours=1), message)

    @app.statefun("test/second")
    async def second(context: Context, message: str) -> Effects:
        await asyncio.sleep(0)
        times.append(context.now)
        elsewhere.info("second")
        return Effects()

    with app.statefun.runtime() as engine:
        engine.send("test/first/bob", "one")
        engine.run_until_idle()
        start = engine.now
        engine.advance(dt.timedelta(hours=2))

    assert times == [start, start + dt.timedelta(hours=1)]
    assert times[0].tzinfo is dt.UTC
    traces = [each.statefun_trace for each in records.records if each.name == elsewhere.name]
    assert traces == [1, 1]


def test_without_an_engine_the_time_is_the_machines() -> None:
    times: list[dt.datetime] = []

    def function(context: Context, message: str) -> Effects:
        times.append(context.now)
        return Effects()

    before = dt.datetime.now(dt.UTC)
    handler_of(function)(request_bytes("one", target="test/fn"))

    assert before <= times[0] <= Context("a/b/c").now <= dt.datetime.now(dt.UTC)


def test_a_context_made_by_hand_may_have_a_time() -> None:
    cet = dt.timezone(dt.timedelta(hours=1))
    noon = dt.datetime(2026, 1, 2, 12, tzinfo=cet)

    assert Context("a/b/c", now=noon).now == noon
    assert Context("a/b/c", now=noon).now.tzinfo is dt.UTC
    with pytest.raises(ValueError, match="has no time zone"):
        Context("a/b/c", now=dt.datetime(2026, 1, 2))
