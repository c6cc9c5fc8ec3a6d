"""The base class of the test engines, with the methods that all of them have."""

from __future__ import annotations

import abc
import collections.abc as cabc
import datetime as dt
import itertools
import time
import types
import typing as t

from ..errors import StateFunError
from ..values.address import Address
from ..values.address import as_address
from ..values.batch_scope import BatchScope
from ..values.batch_scope import default_logger
from ..values.context import InvocationContext
from ..values.context import Readable
from ..values.message import encode
from ..values.message import Message
from ..values.state import ValueSpec
from ..values.types import TypeLike
from . import sender
from .record import Record

T = t.TypeVar("T")

#: How many records and errors an error message lists.
_SHOWN = 10

#: The longest duration that :meth:`TestEngine.advance` waits for on a real clock.
LONGEST_WAIT = dt.timedelta(minutes=10)


class WaitTimeoutError(StateFunError, AssertionError):
    """The condition that a test waited for did not hold in time."""


class TestEngine(abc.ABC):
    """An app that runs on an engine, for tests; a context manager.

    Each method has the same meaning on every engine. A method that an engine cannot offer raises
    RuntimeError with the reason.

    The state of an address outlives a test when the engine does, so a test uses ids of its own.
    """

    #: Tells pytest that this class does not hold tests.
    __test__ = False

    #: ``"embedded"`` or ``"flink"``.
    name: t.ClassVar[str]

    def __init__(self) -> None:
        #: The exceptions that functions have raised since the test began.
        self.errors: list[BaseException] = []

    # -- input ----------------------------------------------------------------------------

    def send(self, address: Address | str, value: t.Any, *, type: t.Any = None) -> None:
        """Send a message to a function of the app, or of another worker that module.yaml names.

        Messages to one address arrive in the order of the calls. The caller that the function sees
        is an address of ``statefun.testing/sender``, which accepts and ignores replies. A record of
        an ingress has no caller, see :meth:`produce`.

        :param address: An :class:`~statefun_flask.Address`, or ``"namespace/name/id"``.
        :param type: The type to write the value as, in place of its own.
        :raises ValueError: The address is not written in that form.
        :raises UnknownTargetError: No endpoint serves the function.
        """
        target = as_address(address)
        payload = sender.encode(target, encode(value, type))
        self._check_target(target)
        self._send(target, payload)

    @abc.abstractmethod
    def produce(self, topic: str, key: str, value: bytes | str) -> None:
        """Write a record to a Kafka topic that an ingress of module.yaml reads.

        :raises ValueError: No ingress reads the topic.
        """

    # -- time and failures ----------------------------------------------------------------

    @abc.abstractmethod
    def advance(self, duration: dt.timedelta) -> None:
        """Let time pass. Delayed messages and expirations happen at the instant they are due.

        A virtual clock moves at once. On a real clock, and on Flink, the call takes that long.

        :raises ValueError: The duration is negative.
        :raises RuntimeError: The clock is real and the duration is longer than ten minutes.
        """

    @abc.abstractmethod
    def run_until_idle(self, timeout: float = 10.0) -> None:
        """Handle messages until none is left that can be handled now. The clock does not move.

        :param timeout: In seconds, for a real clock.
        :raises TimeoutError: The engine was still busy after that time.
        :raises RuntimeError: The engine is Flink, which does not report that it is idle.
        """

    @abc.abstractmethod
    def fail(self) -> None:
        """Make the engine fail, and recover.

        The effects since the last checkpoint are lost, and the messages are handled again. On Flink
        the TaskManager is killed. Functions may see messages again that they have answered.
        """

    @abc.abstractmethod
    def stop_worker(self) -> None:
        """Make the app's functions unreachable until :meth:`start_worker`."""

    @abc.abstractmethod
    def start_worker(self) -> None:
        """Make the app's functions reachable again."""

    # -- output ---------------------------------------------------------------------------

    @t.overload
    def state(self, address: Address | str) -> dict[str, t.Any]: ...
    @t.overload
    def state(self, address: Address | str, spec: Readable[T]) -> T: ...
    @t.overload
    def state(
        self, address: Address | str, spec: ValueSpec[t.Any], type: TypeLike[T]
    ) -> T | None: ...
    def state(self, address: Address | str, spec: t.Any = None, type: t.Any = None) -> t.Any:
        """Return the states of an address as its functions read them: by name, or one of them.

        A state without a value has its default. Without a default it is left out of the dict, and
        alone it is None. A state that is not declared is a :class:`~statefun_flask.Message`.

        :param address: An :class:`~statefun_flask.Address`, or ``"namespace/name/id"``.
        :param spec: The state whose value to return.
        :param type: The type to read an untyped state as.
        :raises UnknownTargetError: No endpoint serves the function.
        :raises UnknownStateError: The function does not declare the state of the spec.
        :raises StateTypeError: The spec has another type than the declared or the stored one.
        :raises RuntimeError: The engine is Flink, which does not give access to state.
        """
        target = as_address(address)
        stored, declared = self._stored(target), self._declared(target)
        if spec is not None:
            specs = declared or {spec.name: spec}  # the function of another worker
            scope = BatchScope([], None, default_logger)
            return InvocationContext(target, None, stored, specs, scope, 0).get_state(spec, type)
        values = {name: each._decode(stored.get(name)) for name, each in declared.items()}
        others = {name: Message(*each) for name, each in stored.items() if name not in declared}
        return {name: each for name, each in values.items() if each is not None} | others

    def records(
        self, topic: str, count: int = 1, *, key: str | None = None, timeout: float = 60.0
    ) -> list[Record]:
        """Return the records that functions have written to a topic since the test began.

        Records of one key are in their order. The method waits until there are `count` of them, and
        returns all that exist then. To assert that no more follow, call :meth:`advance` before.

        :param count: How many records to wait for; 0 does not wait.
        :param key: Only the records with this key.
        :param timeout: How long to wait, in seconds of the engine's clock.
        :raises WaitTimeoutError: There were fewer records in that time. The message lists them, and
            the errors.
        """

        def found() -> list[Record]:
            return [each for each in self._read(topic) if key is None or each.key == key]

        def enough() -> list[Record] | None:
            records = found()
            return records if len(records) >= count else None

        if count <= 0:
            return found()
        what = f"{count} {'record' if count == 1 else 'records'} in '{topic}'"
        if key is not None:
            what += f" with the key '{key}'"
        return self.eventually(enough, what, timeout, found)

    def eventually(
        self,
        condition: cabc.Callable[[], T | None],
        what: str = "the condition",
        timeout: float = 60.0,
        so_far: cabc.Callable[[], cabc.Sequence[object]] = tuple,
    ) -> T:
        """Run the engine until a condition holds, and return the condition's value.

        Use it for side effects of functions, since the worker runs in the process of the test.

        :param condition: Returns a true value when it holds.
        :param what: Names the condition in the error message.
        :param timeout: In seconds of the engine's clock.
        :param so_far: Returns the results that the error message lists.
        :raises WaitTimeoutError: The condition did not hold in time.
        """
        value = self._poll(condition, timeout)
        if value:
            return value
        lines = [f"The engine '{self.name}' waited {timeout:g} s for {what}."]
        lines += [f"Found: {each}" for each in itertools.islice(so_far(), _SHOWN)]
        lines += [f"A function raised {_describe(each)}" for each in self.errors[:_SHOWN]]
        lines += self._troubles()
        raise WaitTimeoutError("\n".join(lines)) from (self.errors[0] if self.errors else None)

    @property
    @abc.abstractmethod
    def now(self) -> dt.datetime:
        """The time of the engine's clock."""

    # -- life -----------------------------------------------------------------------------

    def begin_test(self) -> None:
        """Forget the records and errors so far. The pytest plugin calls it before each test."""
        self.errors.clear()

    @abc.abstractmethod
    def close(self) -> None:
        """Stop the engine."""

    def __enter__(self) -> t.Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: types.TracebackType | None,
    ) -> None:
        self.close()

    # -- methods of the subclasses --------------------------------------------------------

    @abc.abstractmethod
    def _check_target(self, target: Address) -> None:
        """Raise UnknownTargetError when no endpoint serves a function."""

    @abc.abstractmethod
    def _send(self, target: Address, payload: bytes) -> None:
        """Pass a payload to the sender's instance for a target."""

    @abc.abstractmethod
    def _stored(self, target: Address) -> dict[str, tuple[str, bytes]]:
        """Return the stored states of an address: typename and payload by name."""

    @abc.abstractmethod
    def _declared(self, target: Address) -> dict[str, ValueSpec[t.Any]]:
        """Return the states that the app declares for a function; none if it is not the app's."""

    @abc.abstractmethod
    def _read(self, topic: str) -> cabc.Iterable[Record]:
        """Return the records of a topic since the test began."""

    @abc.abstractmethod
    def _poll(self, condition: cabc.Callable[[], T | None], timeout: float) -> T | None:
        """Return the condition's value as soon as it is true, or its value after the time."""

    @abc.abstractmethod
    def _troubles(self) -> list[str]:
        """Return the problems of the engine, in sentences for an error message."""


def check_duration(duration: dt.timedelta) -> None:
    """Refuse to move a clock backwards.

    :raises ValueError: The duration is negative.
    """
    if duration < dt.timedelta():
        raise ValueError(f"The clock cannot be moved by {duration}. Give a duration of 0 or more.")


def wait(duration: dt.timedelta) -> None:
    """Let time pass on a real clock.

    :raises ValueError: The duration is negative.
    :raises RuntimeError: The duration is too long to wait for.
    """
    check_duration(duration)
    if duration > LONGEST_WAIT:
        raise RuntimeError(
            f"A real clock cannot be moved by {duration}. Run the test on the embedded engine with"
            " the virtual clock."
        )
    time.sleep(duration.total_seconds())


def _describe(error: BaseException) -> str:
    notes = " ".join(getattr(error, "__notes__", ()))
    return f"{type(error).__name__}: {error} {notes}".rstrip()
