"""From a request's bytes to an answer's bytes: the one door through which functions are called.

The Flask view, the other transports, the test kit and the embedded engine all come through
:class:`RequestHandler`, so that there is one reading of what a function is.
"""

from __future__ import annotations

import collections.abc as cabc
import concurrent.futures
import contextlib
import contextvars
import typing as t

from ..errors import FunctionNotFound
from ..protocol import detect
from ..protocol.model import Answer
from ..protocol.model import Batch
from ..protocol.model import Codec
from ..protocol.model import Incomplete
from ..values import json_types
from ..values.state import ValueSpec
from . import loop
from .invocation import InvocationFailed
from .invocation import run
from .invocation import Steps
from .registry import FunctionRegistry
from .registry import Table


class RequestHandler:
    """Answers requests of the runtime with the functions of a registry.

    :param registry: Its functions are compiled at the first request; later ones are refused.
    :param watch: Look for what is easily lost: JSON values whose fields do not fit, and states that
        were changed in place. An app does so under debug and testing; it costs time.
    :param protocol: ``"v2"`` or ``"v3"`` to answer one major version of StateFun only, ``"auto"``
        to tell them apart request by request.
    """

    def __init__(
        self,
        registry: FunctionRegistry,
        *,
        watch: bool = False,
        protocol: detect.Protocol = "auto",
    ) -> None:
        self.registry = registry
        self.watch = watch
        self._tables: dict[tuple[str, str], Table] | None = None
        self._read = detect.reader(protocol)

    def __call__(self, body: bytes) -> bytes:
        """Answer a request.

        Synchronous functions run in the calling thread. At the first asynchronous one the rest of
        the batch moves to the loop of the process, once.

        :param body: A serialised ToFunction.
        :raises ProtocolError: The bytes are not one.
        :raises FunctionNotFound: Nothing is registered for its target.

        What a function raises comes out as it is, with a note that says for which message.
        """
        try:
            return self.invoke(body)
        except InvocationFailed as exc:
            error = exc.unwrap()
        try:
            raise error
        finally:
            del error  # whose traceback has this frame

    def invoke(self, body: bytes) -> bytes:
        """Answer a request as a call does, but leave what a function raises in its wrapper.

        :raises InvocationFailed: A function raised an exception.
        """
        codec, batch, table, missing = self._prepare(body)
        if missing:
            return codec.encode(Incomplete(table.typename, missing))

        steps = run(batch, table, self.watch)
        if self.watch:
            with _verified():
                return codec.encode(_finish(steps))
        return codec.encode(_finish(steps))

    async def handle_async(
        self, body: bytes, *, executor: concurrent.futures.Executor | None = None
    ) -> bytes:
        """Answer a request in the running event loop, where asynchronous functions are awaited.

        :param executor: Where the functions of a typename run when none of them is asynchronous.
            Without one, synchronous functions block the loop while they run, as do those that share
            a typename with an asynchronous one.
        """
        try:
            return await self.invoke_async(body, executor=executor)
        except InvocationFailed as exc:
            error = exc.unwrap()
        try:
            raise error
        finally:
            del error  # whose traceback has this frame

    async def invoke_async(
        self, body: bytes, *, executor: concurrent.futures.Executor | None = None
    ) -> bytes:
        """Answer a request as :meth:`handle_async` does, with the wrapper of :meth:`invoke`."""
        codec, batch, table, missing = self._prepare(body)
        if missing:
            return codec.encode(Incomplete(table.typename, missing))

        steps = run(batch, table, self.watch)
        if executor is None or table.is_async:
            finish = _finish_async(steps)
        else:
            finish = _finish_in(executor, steps)
        if self.watch:
            with _verified():
                return codec.encode(await finish)
        return codec.encode(await finish)

    def _prepare(self, body: bytes) -> tuple[Codec, Batch, Table, list[ValueSpec[t.Any]]]:
        """Decode a request and look up its function and the states that it lacks."""
        tables = self._tables
        if tables is None:
            tables = self._tables = self.registry.compile()
        codec, batch = self._read(body, tables)
        table = tables.get(batch.target)
        if table is None:
            raise FunctionNotFound("/".join(batch.target), self.registry)

        cells = batch.cells
        specs = table.specs
        for name in specs:
            if name not in cells:
                return codec, batch, table, [specs[each] for each in specs if each not in cells]
        codec.admit(cells, specs)
        return codec, batch, table, _NOTHING


_NOTHING: list[ValueSpec[t.Any]] = []


@contextlib.contextmanager
def _verified() -> cabc.Iterator[None]:
    token = json_types.verify.set(True)
    try:
        yield
    finally:
        json_types.verify.reset(token)


def _finish(steps: Steps) -> Answer:
    """Run a batch in this thread, and from the first awaitable on in the loop of the process."""
    try:
        awaitable = next(steps)
    except StopIteration as stop:
        answer: Answer = stop.value
        return answer
    return loop.run(_drive(steps, awaitable))


async def _finish_in(executor: concurrent.futures.Executor, steps: Steps) -> Answer:
    """Run a batch in a thread, with the context variables of this task."""
    import asyncio

    run_here = contextvars.copy_context().run
    return await asyncio.get_running_loop().run_in_executor(executor, run_here, _finish, steps)


async def _finish_async(steps: Steps) -> Answer:
    """Run a batch in the running event loop."""
    try:
        awaitable = next(steps)
    except StopIteration as stop:
        answer: Answer = stop.value
        return answer
    return await _drive(steps, awaitable)


async def _drive(steps: Steps, awaitable: cabc.Awaitable[t.Any]) -> Answer:
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
            answer: Answer = stop.value
            return answer


def _current_task() -> object:
    import asyncio

    try:
        return asyncio.current_task()
    except RuntimeError:
        return None
