"""Turns the bytes of a request into the bytes of its reply, by calling the registered functions.

The endpoint, the transports, the test kit and the embedded engine all call functions through
:class:`RequestHandler`.
"""

from __future__ import annotations

import collections.abc as cabc
import concurrent.futures
import contextlib
import contextvars
import logging
import typing as t

import msgspec

from ..errors import FunctionNotFoundError
from ..protocol import detect
from ..protocol.model import Batch
from ..protocol.model import BatchResult
from ..protocol.model import Codec
from ..protocol.model import MissingStates
from ..values import json_types
from ..values.batch_scope import BatchScope
from ..values.batch_scope import default_logger
from ..values.batch_scope import engine_call
from . import loop
from .invocation import InvocationFailedError
from .invocation import run
from .invocation import running
from .invocation import Steps
from .registry import compile_tables
from .registry import FunctionRegistry
from .table import FunctionTable


class RequestHandler:
    """Answers the requests of the runtime with the functions of a registry.

    :param registry: Its functions are compiled at the first request. Registering a function later
        is an error.
    :param debug_checks: Detect JSON values whose fields do not fit, and states that were changed in
        place. An app enables these checks in debug and testing mode, since they take time.
    :param logger: Returns the logger for ``context.logger``; by default
        ``logging.getLogger("statefun_flask.functions")``.
    :param protocol: ``"v2"`` or ``"v3"`` to answer one major version of StateFun only, ``"auto"``
        to detect the version of each request.
    """

    def __init__(
        self,
        registry: FunctionRegistry,
        *,
        debug_checks: bool = False,
        protocol: detect.Protocol = "auto",
        logger: cabc.Callable[[], logging.Logger] = default_logger,
    ) -> None:
        self.registry = registry
        self.debug_checks = debug_checks
        self._logger = logger
        self._tables: cabc.Mapping[tuple[str, str], FunctionTable] | None = None
        self._read = detect.request_reader(protocol)

    def __call__(self, body: bytes) -> bytes:
        """Answer a request.

        Synchronous functions run in the calling thread. At the first asynchronous function the rest
        of the batch moves to the event loop of the process.

        An exception of a function is raised unchanged, with a note that names the invocation.

        :param body: A serialised ToFunction.
        :raises ProtocolError: The bytes are not a ToFunction.
        :raises FunctionNotFoundError: No function is registered for the target.
        """
        try:
            return self._invoke(body)
        except InvocationFailedError as exc:
            error = exc.unwrap()
        try:
            raise error
        finally:
            del error  # its traceback refers to this frame

    async def handle_async(
        self, body: bytes, *, executor: concurrent.futures.Executor | None = None
    ) -> bytes:
        """Answer a request in the running event loop, where asynchronous functions are awaited.

        :param executor: Where the functions of a typename run when none of them is asynchronous.
            Without an executor, synchronous functions block the loop. So do the synchronous
            functions that share a typename with an asynchronous one.
        """
        try:
            return await self._invoke_async(body, executor=executor)
        except InvocationFailedError as exc:
            error = exc.unwrap()
        try:
            raise error
        finally:
            del error  # its traceback refers to this frame

    def _invoke(self, body: bytes) -> bytes:
        """Answer a request as a call does, without unwrapping the exception of a function.

        :raises InvocationFailedError: A function raised an exception.
        """
        request = self._prepare(body)
        if request.missing is not None:
            return request.codec.encode(request.missing)
        scope = BatchScope(request.batch.messages, engine_call.get(), self._logger)
        steps = run(request.batch, request.table, self.debug_checks, scope)
        if not self.debug_checks:
            return request.codec.encode(_finish(steps))
        with _verified():
            return request.codec.encode(_finish(steps))

    async def _invoke_async(
        self, body: bytes, *, executor: concurrent.futures.Executor | None = None
    ) -> bytes:
        """Answer a request as :meth:`handle_async` does, without unwrapping exceptions.

        :raises InvocationFailedError: A function raised an exception.
        """
        request = self._prepare(body)
        if request.missing is not None:
            return request.codec.encode(request.missing)
        scope = BatchScope(request.batch.messages, engine_call.get(), self._logger)
        steps = run(request.batch, request.table, self.debug_checks, scope)
        if executor is None or request.table.is_async:
            finish = _finish_async(steps)
        else:
            finish = _finish_in(executor, steps)
        if not self.debug_checks:
            return request.codec.encode(await finish)
        with _verified():
            return request.codec.encode(await finish)

    def _compile(self) -> cabc.Mapping[tuple[str, str], FunctionTable]:
        """Compile the registry. The first request calls this method."""
        return compile_tables(self.registry)

    def _prepare(self, body: bytes) -> _Prepared:
        """Decode a request, look up its functions, and check its states."""
        tables = self._tables
        if tables is None:
            tables = self._tables = self._compile()
        codec, batch = self._read(body, tables)
        table = tables.get(batch.target)
        if table is None:
            raise FunctionNotFoundError("/".join(batch.target), self.registry)

        states = batch.states
        specs = table.specs
        for name in specs:
            if name not in states:
                missing = [spec for spec in specs.values() if spec.name not in states]
                return _Prepared(codec, batch, table, MissingStates(table.typename, missing))
        codec.resolve_states(states, specs)
        return _Prepared(codec, batch, table)


class _Prepared(msgspec.Struct, gc=False):
    """A decoded request, with everything that is needed to run it and to encode its reply."""

    codec: Codec
    batch: Batch
    table: FunctionTable
    missing: MissingStates | None = None


@contextlib.contextmanager
def _verified() -> cabc.Iterator[None]:
    token = json_types.verify.set(True)
    try:
        yield
    finally:
        json_types.verify.reset(token)


def _finish(steps: Steps) -> BatchResult:
    """Run a batch in this thread; from the first awaitable on, in the event loop of the process."""
    try:
        awaitable = next(steps)
    except StopIteration as stop:
        result: BatchResult = stop.value
        return result
    try:
        loop.check_outside()
    except RuntimeError:
        if isinstance(awaitable, cabc.Coroutine):
            awaitable.close()
        raise
    try:
        return loop.run(_drive(steps, awaitable))
    finally:
        running.set(None)  # The steps have set it in this thread too.


async def _finish_in(executor: concurrent.futures.Executor, steps: Steps) -> BatchResult:
    """Run a batch in a thread, with the context variables of this task."""
    import asyncio

    run_here = contextvars.copy_context().run
    return await asyncio.get_running_loop().run_in_executor(executor, run_here, _finish, steps)


async def _finish_async(steps: Steps) -> BatchResult:
    """Run a batch in the running event loop."""
    try:
        awaitable = next(steps)
    except StopIteration as stop:
        result: BatchResult = stop.value
        return result
    try:
        return await _drive(steps, awaitable)
    finally:
        running.set(None)


async def _drive(steps: Steps, awaitable: cabc.Awaitable[t.Any]) -> BatchResult:
    """Run the rest of a batch in an event loop."""
    task = _current_task()
    while True:
        try:
            value = await awaitable
        except BaseException as exc:
            if isinstance(exc, GeneratorExit) and (task is None or _current_task() is not task):
                raise  # This coroutine is closed, and the steps are closed with it.
            send: t.Any = steps.throw
            value = exc
        else:
            send = steps.send
        try:
            awaitable = send(value)
        except StopIteration as stop:
            result: BatchResult = stop.value
            return result


def _current_task() -> object:
    import asyncio

    try:
        return asyncio.current_task()
    except RuntimeError:
        return None
