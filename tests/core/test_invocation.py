"""Every kind of function, called on every path: in a thread, in a loop, with an executor."""

from __future__ import annotations

import asyncio
import collections.abc as cabc
import concurrent.futures
import datetime as dt
import functools
import threading
import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statefun_flask import Address
from statefun_flask import Context
from statefun_flask import Effects
from statefun_flask import FunctionRegistry
from statefun_flask import RequestHandler
from statefun_flask.core.registry import functions_of

BOB = Address("example/other", "bob")
Answer: t.TypeAlias = cabc.Callable[[RequestHandler, bytes], bytes]


def say(text: object) -> Effects:
    return Effects().send(BOB, str(text))


def plain(context: Context, text: str) -> Effects:
    return say(text)


async def asynchronous(context: Context, text: str) -> Effects:
    await asyncio.sleep(0)
    return say(text)


def generator(context: Context, text: str) -> cabc.Iterator[Effects]:
    yield say(text)
    yield Effects()


async def asynchronous_generator(context: Context, text: str) -> cabc.AsyncIterator[Effects]:
    await asyncio.sleep(0)
    yield say(text)
    yield Effects()


def listed(context: Context, text: str) -> list[Effects]:
    return [say(text), Effects()]


async def asynchronous_list(context: Context, text: str) -> list[Effects]:
    return [say(text)]


async def asynchronous_iterable(context: Context, text: str) -> cabc.Iterable[Effects]:
    return (each for each in [say(text)])


class Methods:
    def bound(self, context: Context, text: str) -> Effects:
        return say(text)

    @classmethod
    def of_class(cls, context: Context, text: str) -> Effects:
        return say(text)

    @staticmethod
    def static(context: Context, text: str) -> Effects:
        return say(text)


class Called:
    def __call__(self, context: Context, text: str) -> Effects:
        return say(text)


class AsyncCalled:
    async def __call__(self, context: Context, text: str) -> Effects:
        await asyncio.sleep(0)
        return say(text)


def passes_on(function: t.Any) -> t.Any:
    """A decorator that does not support async functions."""

    @functools.wraps(function)
    def wrapper(*args: t.Any) -> t.Any:
        return function(*args)

    return wrapper


def with_prefix(prefix: str, context: Context, text: str) -> Effects:
    return say(text)


KINDS: dict[str, t.Any] = {
    "plain": plain,
    "async": asynchronous,
    "generator": generator,
    "async generator": asynchronous_generator,
    "list": listed,
    "async list": asynchronous_list,
    "async iterable": asynchronous_iterable,
    "bound method": Methods().bound,
    "class method": Methods.of_class,
    "static method": Methods.static,
    "callable": Called(),
    "async callable": AsyncCalled(),
    "wrapped async": passes_on(asynchronous),
    "partial": functools.partial(with_prefix, "x"),
}


def in_this_thread(handler: RequestHandler, body: bytes) -> bytes:
    return handler(body)


def in_a_loop(handler: RequestHandler, body: bytes) -> bytes:
    return asyncio.run(handler.handle_async(body))


def with_an_executor(handler: RequestHandler, body: bytes) -> bytes:
    with concurrent.futures.ThreadPoolExecutor(1, "executor") as executor:
        return asyncio.run(handler.handle_async(body, executor=executor))


PATHS: list[Answer] = [in_this_thread, in_a_loop, with_an_executor]


def handler_of(function: t.Any) -> RequestHandler:
    registry = FunctionRegistry()
    registry.register("example/fn", function)
    return RequestHandler(registry)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_function_answers(
    kind: str, path: Answer, request_bytes: t.Any, answered: t.Any
) -> None:
    body = request_bytes("one", "two")
    assert answered(path(handler_of(KINDS[kind]), body)).texts == ["one", "two"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_function_is_registered_unchanged(kind: str) -> None:
    registry = FunctionRegistry()
    registry.register("example/fn", KINDS[kind])
    registry.register("example/fn", KINDS[kind])  # which does nothing
    (function,) = functions_of(registry, "example/fn")
    assert function.function == KINDS[kind]


def test_a_synchronous_function_runs_where_it_is_called(
    request_bytes: t.Any, answered: t.Any
) -> None:
    def fn(context: Context, text: str) -> Effects:
        return say(threading.current_thread().name)

    handler = handler_of(fn)
    me = threading.current_thread().name
    body = request_bytes("")
    assert answered(in_this_thread(handler, body)).texts == [me]
    assert answered(in_a_loop(handler, body)).texts == [me]
    assert answered(with_an_executor(handler, body)).texts == ["executor_0"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("error", [KeyError("mine"), ValueError("mine")])
@pytest.mark.parametrize("kind", ["sync", "async", "generator", "async generator"])
def test_an_error_comes_out_as_it_is_with_a_note(
    kind: str, error: Exception, path: Answer, request_bytes: t.Any
) -> None:
    error = type(error)(*error.args)

    def sync(context: Context, text: str) -> Effects:
        raise error

    async def later(context: Context, text: str) -> Effects:
        await asyncio.sleep(0)
        raise error

    def yields(context: Context, text: str) -> cabc.Iterator[Effects]:
        yield say(text)
        raise error

    async def yields_later(context: Context, text: str) -> cabc.AsyncIterator[Effects]:
        yield say(text)
        raise error

    function: t.Any = {
        "sync": sync,
        "async": later,
        "generator": yields,
        "async generator": yields_later,
    }[kind]
    with pytest.raises(type(error)) as raised:
        path(handler_of(function), request_bytes("one"))
    assert raised.value is error
    assert error.__notes__ == [
        "while invoking example/fn/bob (message 1 of 1, type 'io.statefun.types/string')"
    ]


class Custom(BaseException):
    pass


NOTE = "while invoking example/fn/bob (message 1 of 1, type 'io.statefun.types/string')"


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("error", [SystemExit, GeneratorExit, asyncio.CancelledError, Custom])
@pytest.mark.parametrize("asynchronously", [False, True])
def test_an_exception_that_is_not_an_exception_ends_neither_the_server_nor_the_loop(
    asynchronously: bool,
    error: type[BaseException],
    path: Answer,
    request_bytes: t.Any,
    answered: t.Any,
) -> None:
    def now(context: Context, text: str) -> Effects:
        raise error

    async def later(context: Context, text: str) -> Effects:
        await asyncio.sleep(0)
        raise error

    function = later if asynchronously else now
    with pytest.raises(RuntimeError) as raised:
        path(handler_of(function), request_bytes("one"))
    assert str(raised.value) == f"'example/fn' raised {error.__name__}"
    assert isinstance(raised.value.__cause__, error)
    assert raised.value.__notes__ == [NOTE]
    assert answered(path(handler_of(asynchronous), request_bytes("on"))).texts == ["on"]


def interrupted(context: Context, text: str) -> Effects:
    raise KeyboardInterrupt


async def interrupted_later(context: Context, text: str) -> Effects:
    await asyncio.sleep(0)
    raise KeyboardInterrupt


@pytest.mark.parametrize("path", [in_a_loop, with_an_executor])
@pytest.mark.parametrize("function", [interrupted, interrupted_later])
def test_a_keyboard_interrupt_in_a_servers_thread_or_loop_fails_the_invocation(
    function: t.Any, path: Answer, request_bytes: t.Any
) -> None:
    with pytest.raises(RuntimeError, match="'example/fn' raised KeyboardInterrupt"):
        path(handler_of(function), request_bytes("one"))


def test_a_keyboard_interrupt_of_the_main_thread_is_the_users(request_bytes: t.Any) -> None:
    with pytest.raises(KeyboardInterrupt):
        handler_of(interrupted)(request_bytes("one"))


@pytest.mark.parametrize("executor", [False, True])
def test_a_request_whose_task_is_cancelled_is_cancelled(
    executor: bool, request_bytes: t.Any
) -> None:
    begun: list[str] = []

    async def waits(context: Context, text: str) -> Effects:
        begun.append(text)
        await asyncio.sleep(60)
        return say(text)

    async def main() -> None:
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            handler = handler_of(waits)
            answer = handler.handle_async(request_bytes("one"), executor=pool if executor else None)
            task = asyncio.create_task(answer)
            while not begun:
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(main())


def test_a_closed_coroutine_does_not_fail(request_bytes: t.Any) -> None:
    """A loop that is closed also closes coroutines that wait."""

    class Once:
        def __await__(self) -> t.Any:
            yield

    async def waits(context: Context, text: str) -> Effects:
        await Once()
        return say(text)

    coroutine = handler_of(waits).handle_async(request_bytes("one"))
    coroutine.send(None)
    coroutine.close()


@pytest.mark.parametrize("path", PATHS)
def test_an_exception_that_is_raised_again_has_one_note(path: Answer, request_bytes: t.Any) -> None:
    error = KeyError("cached")
    error.add_note("of the user")

    def fails(context: Context, text: str) -> Effects:
        raise error

    handler = handler_of(fails)
    for _ in range(3):
        with pytest.raises(KeyError):
            path(handler, request_bytes("one"))

    assert error.__notes__ == ["of the user", NOTE]


# -- cancellation tokens ----------------------------------------------------------------------


@given(
    st.lists(
        st.lists(st.tuples(st.booleans(), st.sampled_from(["a", "b", "c"])), max_size=4), max_size=5
    )
)
def test_a_batch_is_refused_at_the_first_token_that_is_pending(
    request_bytes: t.Any, batch: list[list[tuple[bool, str]]]
) -> None:
    """The result equals that of a model that handles one effect after the other."""
    pending: set[str] = set()
    refused_at = None
    for position, effects in enumerate(batch):
        for cancels, token in effects:
            if not cancels and token in pending and refused_at is None:
                refused_at = position
            (pending.discard if cancels else pending.add)(token)

    def fn(context: Context, position: int) -> Effects:
        effects = Effects()
        for cancels, token in batch[position]:
            if cancels:
                effects.cancel(token)
            else:
                effects.send_after(BOB, dt.timedelta(1), "", cancellation_token=token)
        return effects

    body = request_bytes(*range(len(batch)))
    if refused_at is None:
        handler_of(fn)(body)
        return
    with pytest.raises(ValueError, match="Two delayed messages of this batch") as raised:
        handler_of(fn)(body)
    assert f"(message {refused_at + 1} of {len(batch)}" in raised.value.__notes__[0]
