"""Calling the functions for the messages of a batch, and gathering what they caused."""

from __future__ import annotations

import collections.abc as cabc
import logging
import signal
import sys
import threading
import typing as t

from ..errors import InvalidReturnError
from ..protocol.model import Answer
from ..protocol.model import Batch
from ..values.address import Address
from ..values.context import changed_in_place
from ..values.context import Context
from ..values.context import invocation_context
from ..values.effects import Effects
from ..values.message import Message
from ..values.state import Cell
from ..values.state import other_type
from ..values.state import unknown_state
from ..values.state import ValueSpec
from ..values.state import write_any
from .registry import StatefulFunction
from .registry import Table

logger = logging.getLogger("statefun_flask")

#: A batch that runs: yields what is to be awaited, gets its value back, returns the answer.
Steps: t.TypeAlias = cabc.Generator[cabc.Awaitable[t.Any], t.Any, Answer]


class InvocationFailed(Exception):
    """A function raised an exception, or what it returned was refused.

    Inside of the package it separates the failure of a function from the failure of a request,
    whatever class the exception has. Callers of a request handler get the exception itself.

    :param cause: The exception.
    :param where: The invocation, as the note that the exception gets.
    """

    def __init__(self, cause: Exception, where: str) -> None:
        super().__init__(cause, where)
        self.cause = cause
        self.where = where

    def unwrap(self) -> Exception:
        """Return the exception, with a note that names this invocation only.

        The same object may fail several invocations, such as the exception of a cached future.
        """
        notes = getattr(self.cause, "__notes__", None)
        if isinstance(notes, list):
            notes[:] = [note for note in notes if not isinstance(note, _Where)]
        self.cause.add_note(_Where(self.where))
        return self.cause


class _Where(str):
    """A note that names an invocation."""


def run(batch: Batch, table: Table, watch: bool) -> Steps:
    """Call the functions for the messages of a batch, one after the other.

    :param batch: Its declared states are all there, and admitted by its codec.
    """
    cells = batch.cells
    specs = table.specs
    answer = Answer(table.typename)
    pending: set[str] = set()
    self_address = Address(table.typename, batch.id)
    routes = table.routes

    for position, (caller, message) in enumerate(batch.messages):
        try:
            take, reader, function = routes.get(message.typename) or table.route(message)
            argument = message.read(reader) if take is None else take(message)
            context = invocation_context(self_address, caller, cells, specs, watch)

            returned = function.function(context, argument)
            if returned.__class__ is not Effects:
                if hasattr(returned, "__await__"):
                    returned = yield returned
                elif hasattr(returned, "__aiter__"):
                    returned = yield _collect(returned)
                returned = _joined(returned, function)

            _apply(returned, answer, cells, table, pending)
            if watch:
                _warn_of_lost_changes(context, returned, function)
        except BaseException as exc:
            if _ends_the_caller(exc):
                raise
            where = (
                f"while invoking {self_address} (message {position + 1} of {len(batch.messages)},"
                f" type '{message.typename}')"
            )
            raise InvocationFailed(_as_error(exc, table), where) from exc
    return answer


def _joined(returned: t.Any, function: StatefulFunction) -> Effects:
    """Return what a function returned as one Effects.

    :raises InvalidReturnError: It is neither Effects nor an iterable of Effects.
    """
    if isinstance(returned, Effects):
        return returned
    if returned is None and function.signature.returns_none:
        return Effects()
    if isinstance(returned, cabc.Iterable) and not isinstance(
        returned, str | bytes | bytearray | cabc.Mapping | Message
    ):
        joined = Effects()
        for each in returned:
            if not isinstance(each, Effects):
                raise _invalid(f"an iterable with {_described(each)}", function)
            joined.extend(each)
            each._sealed = True
        return joined
    raise _invalid(_described(returned), function)


async def _collect(returned: cabc.AsyncIterable[t.Any]) -> list[t.Any]:
    return [each async for each in returned]


def _described(value: object) -> str:
    return "None" if value is None else f"{type(value).__name__} {value!r:.60}"


def _invalid(what: str, function: StatefulFunction) -> InvalidReturnError:
    return InvalidReturnError(
        f"'{function.name}' returned {what}, but a stateful function returns Effects."
        " Write 'return Effects()' when nothing should happen."
    )


def _apply(
    effects: Effects,
    answer: Answer,
    cells: dict[str, Cell],
    table: Table,
    pending: set[str],
) -> None:
    """Add a function's effects to the answer, and its changes to the batch's states.

    All is checked before anything is added, so that a refused function has done nothing.
    """
    changes: list[tuple[str, Cell]] = []
    if effects.changes:
        specs = table.specs
        for state, cell in effects.changes:
            if state.__class__ is ValueSpec and specs.get(state.name) is state:
                changes.append((state.name, cell))
            else:
                changes.append(_change(state, cell, table))
    if effects.delayed:
        _check_tokens(effects, pending)
        answer.delayed += effects.delayed

    effects._sealed = True
    for name, cell in changes:
        answer.changes[name] = cells[name] = cell
    if effects.sends:
        answer.sends += effects.sends
    if effects.egresses:
        answer.egresses += effects.egresses


def _change(state: ValueSpec[t.Any] | str, cell: Cell, table: Table) -> tuple[str, Cell]:
    """Return the name and the new cell of a change, checked against the declaration."""
    name = state.name if isinstance(state, ValueSpec) else state
    spec = table.specs.get(name)

    if spec is None:
        raise unknown_state(state, table.specs, table.typename)
    if cell is None:
        return name, cell
    if isinstance(state, ValueSpec):
        if state.type != spec.type:
            raise other_type(spec, state.type.typename)
    elif spec.is_untyped:
        return name, (spec.type.typename, write_any(*cell))
    elif cell[0] != spec.type.typename:
        raise other_type(spec, cell[0])
    return name, cell


def _check_tokens(effects: Effects, pending: set[str]) -> None:
    """Refuse a token that is still pending: the runtime would end the job (protocol 1.6)."""
    sent: set[str] = set()
    cancelled: set[str] = set()
    for receiver, *_, token in effects.delayed:
        if receiver is None:
            sent.discard(token)
            cancelled.add(token)
        elif token in sent or (token in pending and token not in cancelled):
            raise ValueError(
                f"Two delayed messages of this batch have the cancellation token '{token}'."
                " Cancel the first one before, or use a token of its own for each."
            )
        elif token:
            sent.add(token)
    pending -= cancelled
    pending |= sent


def _warn_of_lost_changes(context: Context, effects: Effects, function: StatefulFunction) -> None:
    changed = {getattr(state, "name", state) for state, _ in effects.changes}
    for spec in changed_in_place(context):
        if spec.name not in changed:
            logger.warning(
                "'%s' changed the value of the state '%s' in place, and the change is lost."
                " Return Effects().update_state(…) with the changed value.",
                function.name,
                spec.name,
            )


def _as_error(exc: BaseException, table: Table) -> Exception:
    """Return the exception that a function fails with.

    StopIteration would end the generator of the batch. What is not an Exception, such as
    SystemExit, would end the server's thread or the event loop, and the request had no answer.
    """
    if isinstance(exc, Exception) and not isinstance(exc, StopIteration):
        return exc
    error = RuntimeError(f"'{table.typename}' raised {type(exc).__name__}")
    error.__cause__ = exc
    return error


def _ends_the_caller(exc: BaseException) -> bool:
    """Return whether an exception was not raised by the function, but by whoever stops it."""
    if isinstance(exc, KeyboardInterrupt):
        return (
            threading.current_thread() is threading.main_thread()
            and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        )
    if isinstance(exc, GeneratorExit):
        # Closing the generator of the batch raises it there, and not in a deeper frame.
        return exc.__traceback__ is None or exc.__traceback__.tb_next is None
    asyncio = sys.modules.get("asyncio")
    if asyncio is None or not isinstance(exc, asyncio.CancelledError):
        return False
    try:
        task = asyncio.current_task()
    except RuntimeError:  # The thread has no event loop.
        return False
    return task is not None and bool(task.cancelling())
