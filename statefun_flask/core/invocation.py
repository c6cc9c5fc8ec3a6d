"""Runs a batch: calls the functions for its messages, and collects their effects."""

from __future__ import annotations

import collections.abc as cabc
import contextvars
import logging
import signal
import sys
import threading
import typing as t

from ..protocol.model import Batch
from ..protocol.model import BatchResult
from ..values._any import write_any
from ..values.address import Address
from ..values.batch_scope import BatchScope
from ..values.context import DebugContext
from ..values.context import InvocationContext
from ..values.effects import Cancellation
from ..values.effects import Effects
from ..values.effects import StateChange
from ..values.state import declared_type_mismatch
from ..values.state import StoredForm
from ..values.state import unknown_state
from ..values.state import ValueSpec
from .function import StatefulFunction
from .returned import as_effects
from .returned import collect
from .table import FunctionTable

logger = logging.getLogger("statefun_flask")

#: The context of the async function that runs in this task, or None.
running: contextvars.ContextVar[InvocationContext | None] = contextvars.ContextVar(
    "statefun_running", default=None
)

#: A running batch: yields awaitables, is sent their values, and returns the result.
Steps: t.TypeAlias = cabc.Generator[cabc.Awaitable[t.Any], t.Any, BatchResult]


class InvocationFailedError(Exception):
    """A function raised an exception, or returned an invalid value.

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


def run(
    batch: Batch,
    table: FunctionTable,
    debug_checks: bool,
    scope: BatchScope,
) -> Steps:
    """Call the functions for the messages of a batch, one after the other.

    :param batch: It has all declared states, and its codec has resolved them.
    :param debug_checks: Warn of states that a function changed in place.
    :param scope: What the contexts of the messages share.
    """
    states = batch.states
    specs = table.specs
    result = BatchResult(table.typename)
    pending_tokens: set[str] = set()
    self_address = Address(table.typename, batch.id)
    routes = table.routes
    new_context = DebugContext if debug_checks else InvocationContext

    for position, (caller, message) in enumerate(batch.messages):
        try:
            convert, function = routes.get(message.typename) or table.route(message)
            argument = convert(message)
            context = new_context(self_address, caller, states, specs, scope, position)

            returned = function.function(context, argument)
            if returned.__class__ is not Effects:
                if hasattr(returned, "__await__"):
                    running.set(context)
                    returned = yield returned
                elif hasattr(returned, "__aiter__"):
                    running.set(context)
                    returned = yield collect(returned, function)
                returned = as_effects(returned, function)

            _apply(returned, result, states, table, pending_tokens)
            if context.__class__ is DebugContext:
                _warn_of_lost_changes(context, returned, function)
        except BaseException as exc:
            if _ends_the_caller(exc):
                raise
            where = (
                f"while invoking {self_address} (message {position + 1} of {len(batch.messages)},"
                f" type '{message.typename}')"
            )
            raise InvocationFailedError(_as_error(exc, table), where) from exc
    return result


def _apply(
    effects: Effects,
    result: BatchResult,
    states: dict[str, StoredForm],
    table: FunctionTable,
    pending_tokens: set[str],
) -> None:
    """Add the effects of a function to the result, and its changes to the states of the batch.

    Everything is checked first, so that rejected effects change nothing.
    """
    changes: list[tuple[str, StoredForm]] = []
    if effects.changes:
        specs = table.specs
        for change in effects.changes:
            state = change.state
            if state.__class__ is ValueSpec and specs.get(state.name) is state:
                changes.append((state.name, change.stored))
            else:
                changes.append(_checked_change(change, table))
    if effects.delayed:
        _check_tokens(effects, pending_tokens)
        result.delayed += effects.delayed

    effects._sealed = True
    for name, stored in changes:
        result.changes[name] = states[name] = stored
    if effects.sent:
        result.sent += effects.sent
    if effects.records:
        result.records += effects.records


def _checked_change(change: StateChange, table: FunctionTable) -> tuple[str, StoredForm]:
    """Return the name and the new value of a change, checked against the declaration."""
    state, stored = change.state, change.stored
    name = change.name
    spec = table.specs.get(name)

    if spec is None:
        raise unknown_state(state, table.specs, table.typename)
    if stored is None:
        return name, stored
    if isinstance(state, ValueSpec):
        if state.type != spec.type:
            raise declared_type_mismatch(spec, state.type.typename)
    elif spec._is_untyped:
        return name, (spec.type.typename, write_any(*stored))
    elif stored[0] != spec.type.typename:
        raise declared_type_mismatch(spec, stored[0])
    return name, stored


def _check_tokens(effects: Effects, pending_tokens: set[str]) -> None:
    """Check that no token is used twice, since the runtime ends the job for a pending token."""
    sent: set[str] = set()
    cancelled: set[str] = set()
    for delayed in effects.delayed:
        token = delayed.cancellation_token
        if isinstance(delayed, Cancellation):
            sent.discard(token)
            cancelled.add(token)
        elif token in sent or (token in pending_tokens and token not in cancelled):
            raise ValueError(
                f"Two delayed messages of this batch have the cancellation token '{token}'."
                " Cancel the first one before, or use a token of its own for each."
            )
        elif token:
            sent.add(token)
    pending_tokens -= cancelled
    pending_tokens |= sent


def _warn_of_lost_changes(
    context: DebugContext, effects: Effects, function: StatefulFunction
) -> None:
    changed = {change.name for change in effects.changes}
    for spec in context.changed_in_place():
        if spec.name not in changed:
            logger.warning(
                "'%s' changed the value of the state '%s' in place, and the change is lost."
                " Return Effects().update_state(…) with the changed value.",
                function.name,
                spec.name,
            )


def _as_error(exc: BaseException, table: FunctionTable) -> Exception:
    """Return the exception that a function fails with.

    StopIteration would end the generator of the batch. A BaseException such as SystemExit would end
    the thread of the server or the event loop, and the request would get no reply.
    """
    if isinstance(exc, Exception) and not isinstance(exc, StopIteration):
        return exc
    error = RuntimeError(f"'{table.typename}' raised {type(exc).__name__}")
    error.__cause__ = exc
    return error


def _ends_the_caller(exc: BaseException) -> bool:
    """Return whether the caller of the function raised an exception, in order to stop it."""
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
