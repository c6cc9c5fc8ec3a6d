from __future__ import annotations

import asyncio
import collections.abc as cabc
import concurrent.futures
import contextvars
import functools
import gc
import multiprocessing
import threading
import typing as t

import flask
import pytest

from statefun_flask import Address
from statefun_flask import Context
from statefun_flask import Effects
from statefun_flask import FunctionRegistry
from statefun_flask import InvalidReturnError
from statefun_flask import RequestHandler
from statefun_flask import StateFunFlask
from statefun_flask import ValueSpec

Invoke = cabc.Callable[..., t.Any]

COUNT = ValueSpec("count", int)
TO = Address("test/sink", "a")
user: contextvars.ContextVar[str] = contextvars.ContextVar("user", default="nobody")


def here() -> Effects:
    return Effects().send(TO, threading.current_thread().name)


async def coroutine(context: Context, message: str) -> Effects:
    await asyncio.sleep(0)
    return here()


async def generator(context: Context, message: str) -> cabc.AsyncIterator[Effects]:
    await asyncio.sleep(0)
    yield here()


async def several(context: Context, message: str) -> list[Effects]:
    await asyncio.sleep(0)
    return [here()]


class Callable:
    async def __call__(self, context: Context, message: str) -> Effects:
        await asyncio.sleep(0)
        return here()

    async def method(self, context: Context, message: str) -> Effects:
        return await self(context, message)


@functools.wraps(coroutine)
def wrapper(*args: t.Any) -> t.Any:
    return coroutine(*args)


def lambda_of_wrapper(context: Context, message: str) -> t.Any:
    return coroutine(context, message)


KINDS = [
    coroutine,
    generator,
    several,
    Callable(),
    Callable().method,
    functools.partial(coroutine),
    wrapper,
    lambda_of_wrapper,
]


@pytest.mark.parametrize("function", KINDS)
def test_every_kind_of_async_function_runs_on_the_one_loop(invoke: Invoke, function: t.Any) -> None:
    assert invoke(function, "x", "y").texts == ["statefun-loop"] * 2


def test_there_is_one_loop_thread_per_process(invoke: Invoke) -> None:
    for _ in range(3):
        invoke(coroutine, "x")

    names = [thread.name for thread in threading.enumerate()]
    assert names.count("statefun-loop") == 1


def test_objects_of_a_loop_stay_usable_between_requests(
    request_body: t.Any, answered: t.Any
) -> None:
    lock: list[asyncio.Lock] = []

    async def function(context: Context, message: str) -> Effects:
        if not lock:
            lock.append(asyncio.Lock())
        async with lock[0]:
            return Effects().send(TO, str(id(asyncio.get_running_loop())))

    registry = FunctionRegistry()
    registry.register("test/fn", function)
    handle = RequestHandler(registry)
    first, second = (answered(handle(request_body("test/fn", "x"))).texts for _ in range(2))

    assert first == second


def test_a_sync_function_never_touches_a_loop(invoke: Invoke) -> None:
    def function(context: Context, message: str) -> Effects:
        with pytest.raises(RuntimeError, match="no running event loop"):
            asyncio.get_running_loop()
        return here()

    assert invoke(function, "x").texts == [threading.current_thread().name]


def test_the_rest_of_a_batch_moves_to_the_loop_at_the_first_awaitable(
    request_body: t.Any, answered: t.Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def on_text(context: Context, message: str) -> Effects:
        return here()

    async def on_number(context: Context, message: int) -> Effects:
        return here()

    crossings = []
    crossing = asyncio.run_coroutine_threadsafe
    monkeypatch.setattr(
        asyncio,
        "run_coroutine_threadsafe",
        lambda *args: crossings.append(1) or crossing(*args),
    )
    registry = FunctionRegistry()
    registry.register("test/fn", on_text)
    registry.register("test/fn", on_number)

    answer = answered(RequestHandler(registry)(request_body("test/fn", "a", 1, "b", 2)))

    assert answer.texts == [threading.current_thread().name, *["statefun-loop"] * 3]
    assert crossings == [1]


def test_states_are_carried_through_an_async_batch(invoke: Invoke) -> None:
    async def function(context: Context, message: str) -> Effects:
        await asyncio.sleep(0)
        return Effects().update_state(COUNT, (context.get_state(COUNT) or 0) + 1)

    assert invoke(function, "x", "y", "z", states={COUNT: 1}).changes == [("count", 4)]


def test_an_exception_of_an_async_function_gets_a_note(invoke: Invoke) -> None:
    async def function(context: Context, message: str) -> Effects:
        await asyncio.sleep(0)
        raise KeyError(message)

    with pytest.raises(KeyError, match="x") as info:
        invoke(function, "x")

    assert info.value.__notes__ == [
        "while invoking test/fn/me (message 1 of 1, type 'io.statefun.types/string')"
    ]


def test_an_async_function_that_returns_nothing_is_refused(invoke: Invoke) -> None:
    async def function(context: Context, message: str) -> t.Any:
        await asyncio.sleep(0)

    with pytest.raises(InvalidReturnError, match="returned None"):
        invoke(function, "x")


def test_a_cancelled_function_fails_its_own_request_only(invoke: Invoke) -> None:
    async def function(context: Context, message: str) -> Effects:
        raise asyncio.CancelledError

    with pytest.raises(RuntimeError, match="'test/fn' raised CancelledError"):
        invoke(function, "x")
    assert invoke(coroutine, "x").texts == ["statefun-loop"]


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_a_task_that_exits_does_not_stop_the_loop(
    invoke: Invoke,
    caplog: pytest.LogCaptureFixture,
    error: type[BaseException],
) -> None:
    """A request that waits at the same time continues, and so does the request of the task."""
    waiting, released = threading.Event(), threading.Event()

    async def waits(context: Context, message: str) -> Effects:
        waiting.set()
        while not released.is_set():
            await asyncio.sleep(0.001)
        return here()

    async def exits() -> None:
        raise error

    async def starts(context: Context, message: str) -> Effects:
        await asyncio.gather(exits())
        return here()

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        other = pool.submit(invoke, waits, "x")
        assert waiting.wait(10)
        with pytest.raises(RuntimeError, match=f"'test/fn' raised {error.__name__}"):
            invoke(starts, "x")
        released.set()
        assert other.result(10).texts == ["statefun-loop"]
    assert invoke(coroutine, "x").texts == ["statefun-loop"]
    assert caplog.messages == [f"A task of an async function raised {error.__name__}"]


def test_a_function_that_stops_the_loop_is_answered(invoke: Invoke) -> None:
    async def function(context: Context, message: str) -> Effects:
        asyncio.get_running_loop().stop()
        await asyncio.sleep(0.001)
        return here()

    assert invoke(function, "x").texts == ["statefun-loop"]


def test_a_loop_that_was_closed_is_replaced(invoke: Invoke) -> None:
    loops: list[asyncio.AbstractEventLoop] = []

    async def function(context: Context, message: str) -> Effects:
        loops.append(asyncio.get_running_loop())
        return here()

    invoke(function, "x")
    (first,) = loops
    thread = next(each for each in threading.enumerate() if each.name == "statefun-loop")

    def close() -> None:
        first.stop()
        # The loop is closed when it has stopped, before its thread runs it again.
        first.run_forever = first.close  # type: ignore[method-assign]

    first.call_soon_threadsafe(close)
    thread.join(10)

    assert invoke(function, "x").texts == ["statefun-loop"]
    assert loops[1] is not first


def test_context_variables_reach_the_loop(invoke: Invoke) -> None:
    async def function(context: Context, message: str) -> Effects:
        await asyncio.sleep(0)
        return Effects().send(TO, user.get())

    token = user.set("bob")
    try:
        assert invoke(function, "x").texts == ["bob"]
    finally:
        user.reset(token)


def test_flasks_contexts_reach_the_loop(request_body: t.Any, answered: t.Any) -> None:
    app = StateFunFlask("app")

    @app.before_request
    def remember() -> None:
        flask.g.user = "bob"

    @app.statefun("test/fn")
    async def function(context: Context, message: str) -> Effects:
        await asyncio.sleep(0)
        return Effects().send(TO, f"{flask.current_app.name} {flask.g.user} {flask.request.path}")

    response = app.test_client().post(
        "/statefun", data=request_body("test/fn", "x"), content_type="application/octet-stream"
    )

    assert answered(response.data).texts == ["app bob /statefun"]


def test_many_threads_share_the_loop(request_body: t.Any, answered: t.Any) -> None:
    together = 8
    waiting: list[str] = []

    async def function(context: Context, message: str) -> Effects:
        waiting.append(message)
        async with asyncio.timeout(10):
            while len(waiting) < together:
                await asyncio.sleep(0.001)
        return Effects().send(TO, message)

    registry = FunctionRegistry()
    registry.register("test/fn", function)
    handle = RequestHandler(registry)
    with concurrent.futures.ThreadPoolExecutor(together) as pool:
        bodies = [request_body("test/fn", str(number)) for number in range(together)]
        answers = [answered(body).texts for body in pool.map(handle, bodies)]

    assert answers == [[str(number)] for number in range(together)]


def test_a_call_from_the_loop_itself_is_refused_instead_of_hanging(
    request_body: t.Any, invoke: Invoke
) -> None:
    """A coroutine that is never awaited causes a warning, which is an error in the tests."""
    registry = FunctionRegistry()
    registry.register("test/inner", coroutine)
    handle = RequestHandler(registry)

    async def function(context: Context, message: str) -> Effects:
        with pytest.raises(RuntimeError) as info:
            handle(request_body("test/inner", "x"))
        text = str(info.value)
        del info
        gc.collect()
        return Effects().send(TO, text)

    (text,) = invoke(function, "x").texts
    assert text == (
        "A stateful function was called from within the loop of async functions, which would wait"
        " for itself. Await RequestHandler.handle_async there instead."
    )


def test_another_awaitable_is_refused_in_the_loop_too(request_body: t.Any, invoke: Invoke) -> None:
    class Awaitable:
        def __await__(self) -> t.Any:
            raise AssertionError("it is refused before")

    registry = FunctionRegistry()
    registry.register("test/inner", lambda context, message: Awaitable())
    handle = RequestHandler(registry)

    async def function(context: Context, message: str) -> Effects:
        with pytest.raises(RuntimeError, match="from within the loop of async functions"):
            handle(request_body("test/inner", "x"))
        return here()

    assert invoke(function, "x").texts == ["statefun-loop"]


def _in_child(handle: RequestHandler, body: bytes, pipe: t.Any) -> None:
    pipe.send(handle(body))


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_child_starts_a_loop_of_its_own(request_body: t.Any, answered: t.Any) -> None:
    registry = FunctionRegistry()
    registry.register("test/fn", coroutine)
    handle = RequestHandler(registry)
    body = request_body("test/fn", "x")
    handle(body)

    fork = multiprocessing.get_context("fork")
    ours, theirs = fork.Pipe()
    child = fork.Process(target=_in_child, args=(handle, body, theirs))
    child.start()
    try:
        assert ours.poll(10), "the child hangs"
        assert answered(ours.recv()).texts == ["statefun-loop"]
    finally:
        child.kill()
        child.join(10)
        child.close()
        ours.close()
        theirs.close()


# -- in a running loop ----------------------------------------------------------------------------


@pytest.mark.parametrize("function", KINDS)
def test_handle_async_awaits_in_the_running_loop(
    request_body: t.Any, answered: t.Any, function: t.Any
) -> None:
    registry = FunctionRegistry()
    registry.register("test/fn", function)

    body = asyncio.run(RequestHandler(registry).handle_async(request_body("test/fn", "x")))

    assert answered(body).texts == [threading.current_thread().name]


def test_handle_async_runs_sync_functions_in_the_executor(
    request_body: t.Any, answered: t.Any
) -> None:
    def function(context: Context, message: str) -> Effects:
        return Effects().send(TO, f"{threading.current_thread().name} {user.get()}")

    registry = FunctionRegistry()
    registry.register("test/fn", function)
    handle = RequestHandler(registry)

    async def main() -> bytes:
        user.set("bob")
        with concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="pool") as executor:
            return await handle.handle_async(request_body("test/fn", "x"), executor=executor)

    assert answered(asyncio.run(main())).texts == ["pool_0 bob"]


def test_handle_async_asks_for_missing_states(request_body: t.Any, answered: t.Any) -> None:
    registry = FunctionRegistry()
    registry.register("test/fn", coroutine, states=[COUNT])

    body = asyncio.run(RequestHandler(registry).handle_async(request_body("test/fn", "x")))

    assert [name for name, *_ in answered(body).missing] == ["count"]
