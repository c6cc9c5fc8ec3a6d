"""What a test may do with an engine, whichever it is."""

from __future__ import annotations

import abc
import collections.abc as cabc
import dataclasses
import datetime as dt
import itertools
import typing as t

from ..values.address import Address
from ..values.address import as_address
from ..values.message import encode
from ..values.types import type_of
from . import inbox

T = t.TypeVar("T")

#: How many records and errors a message shows.
_SHOWN = 10


@dataclasses.dataclass(frozen=True)
class Record:
    """A record that a function wrote to a topic.

    :param key: None for a record without one.
    """

    topic: str
    key: str | None
    value: bytes

    @property
    def text(self) -> str:
        """The value as text."""
        return self.value.decode()

    def as_type(self, type: t.Any) -> t.Any:
        """Return the value as what ``kafka_record`` was given.

        :param type: ``str`` and ``bytes`` are the plain bytes, as ``kafka_record`` writes them;
            else a Type, or a class that stands for one.
        """
        if type in (str, bytes):
            return self.text if type is str else self.value
        wanted = type_of(type)
        return wanted.readers[wanted.typename](self.value)

    def __str__(self) -> str:
        return f"{self.key or '(no key)'}: {self.value[:80]!r}"


class NothingCame(AssertionError):
    """What a test waited for did not come in time."""


class Engine(abc.ABC):
    """An app that runs on an engine, for tests; all that it does means the same on each of them.

    Messages and records go in by :meth:`send` and :meth:`produce`, records come out by
    :meth:`records`. The state of ids that were used before is still there, so tests use ids of
    their own.
    """

    #: ``"embedded"`` or ``"flink"``.
    name: t.ClassVar[str]

    def __init__(self) -> None:
        #: What functions raised so far in this test.
        self.errors: list[BaseException] = []

    # -- doing ----------------------------------------------------------------------------

    def send(self, address: Address | str, value: t.Any, *, type: t.Any = None) -> None:
        """Send a message to any function of the app, or of another worker that module.yaml names.

        What one test sends to one address arrives in order. It comes through a function of this
        package, so that its caller is ``statefun.testing/inbox``; a record that an ingress reads
        has no caller, see :meth:`produce`.

        :param address: An :class:`~statefun_flask.Address`, or ``"namespace/name/id"``.
        :param type: The type to write the value as, in place of its own.
        """
        target = as_address(address)
        self._put(inbox.TOPIC, str(target), inbox.write(target, encode(value, type)))

    def produce(self, topic: str, key: str, value: bytes | str) -> None:
        """Write a record to a topic that an ingress of module.yaml reads.

        :raises ValueError: None reads it.
        """
        self._put(topic, key, value.encode() if isinstance(value, str) else value)

    @abc.abstractmethod
    def wait(self, duration: dt.timedelta) -> None:
        """Let time pass: the embedded engine's clock is moved, on Flink it really takes so long."""

    @abc.abstractmethod
    def fail(self) -> None:
        """Fail and recover: what was done since the last checkpoint is lost, and done again.

        On Flink the TaskManager is killed. The worker sees messages again that it has answered.
        """

    @abc.abstractmethod
    def stop_worker(self) -> None:
        """Take the worker away; its functions cannot be called until :meth:`start_worker`."""

    @abc.abstractmethod
    def start_worker(self) -> None:
        """Bring the worker back."""

    # -- looking --------------------------------------------------------------------------

    def records(
        self, topic: str, count: int = 1, *, key: str | None = None, timeout: float = 60.0
    ) -> list[Record]:
        """Return the records that the app has written to a topic since the test began.

        They are in the order of their key. All that is there is returned, as soon as there are
        enough; to see that there are no more than so many, :meth:`wait` before.

        :param count: How many there must be at least.
        :param key: Only the records of a key.
        :param timeout: How long to wait for them, in seconds of the engine's time.
        :raises NothingCame: They did not come; the message says what did, and what failed.
        """

        def enough() -> list[Record] | None:
            found = self._found(topic, key)
            return found if len(found) >= count else None

        what = f"{count} record{'s' * (count != 1)} in '{topic}'"
        if key is not None:
            what += f" with the key '{key}'"
        if count <= 0:
            return self._found(topic, key)
        return self.eventually(enough, what, timeout, lambda: self._found(topic, key))

    def eventually(
        self,
        condition: cabc.Callable[[], T | None],
        what: str = "the condition",
        timeout: float = 60.0,
        so_far: cabc.Callable[[], cabc.Sequence[object]] = tuple,
    ) -> T:
        """Wait until a condition holds, while the engine goes on, and return its value.

        For what functions do beside their effects: the worker runs in the test's process.

        :param condition: Returns something true when it holds.
        :param what: Names it in the message of a failure.
        :param timeout: In seconds of the engine's time.
        :param so_far: Returns what there is instead, for the message.
        :raises NothingCame: It did not hold in time.
        """
        value = self._poll(condition, timeout)
        if value:
            return value
        found = [str(each) for each in itertools.islice(so_far(), _SHOWN)]
        verb = "is" if what[:2] == "1 " or not what[:1].isdigit() else "are"
        lines = [f"There {verb} not yet {what} after {timeout:g} s on the engine '{self.name}'."]
        lines += [f"There is: {each}" for each in found]
        lines += [f"A function raised {_told(each)}" for each in self.errors[:_SHOWN]]
        lines += self._troubles()
        raise NothingCame("\n".join(lines)) from (self.errors[0] if self.errors else None)

    def begin(self) -> None:
        """Forget the records and errors of the test before; the plugin calls it for each test."""
        self.errors.clear()

    def _found(self, topic: str, key: str | None) -> list[Record]:
        return [each for each in self._read(topic) if key is None or each.key == key]

    # -- what an engine has ---------------------------------------------------------------

    @abc.abstractmethod
    def _put(self, topic: str, key: str, value: bytes) -> None:
        """Write a record to a topic that is read."""

    @abc.abstractmethod
    def _read(self, topic: str) -> cabc.Iterable[Record]:
        """Return the records of a topic since the test began."""

    @abc.abstractmethod
    def _poll(self, condition: cabc.Callable[[], T | None], timeout: float) -> T | None:
        """Return the condition's value as soon as it is true, or what it is after the time."""

    @abc.abstractmethod
    def _troubles(self) -> list[str]:
        """Return sentences on what does not go well, for the message of a failure."""

    @abc.abstractmethod
    def close(self) -> None:
        """End it."""


def _told(error: BaseException) -> str:
    notes = " ".join(getattr(error, "__notes__", ()))
    return f"{type(error).__name__}: {error} {notes}".rstrip()
