"""Which calls are in flight, in a file that outlives the process.

User code can end its process: ``os._exit``, a crash in C, the kernel when memory runs out. The next
start would call the same message, and so would each one after it. The file names the addresses
whose calls are in flight. The next start reads it and treats those addresses as suspects: they are
called first and one at a time, so that the culprit is known if the process ends again. A message is
parked if the process ended :data:`.suspects.LIMIT` times with it alone in flight. A suspect that is
handled without an end of the process is cleared.

Each call writes some bytes to mapped memory, which takes no system call. The kernel keeps them when
the process ends. A power cut may lose them, and needs no counting.
"""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import logging
import mmap
import os
import struct
import time

from ..values.address import Address
from .endpoints.pool import Call
from .endpoints.routes import InProcess
from .suspects import label_of
from .suspects import LONGEST_LABEL
from .suspects import Suspect
from .suspects import Suspects

logger = logging.getLogger("statefun_flask")

#: The file's name in the data folder.
NAME = "calls"

#: How many calls and how many suspects the file has room for. More of them are not counted.
CALLS = 256
SUSPECTS = 256

#: The size of each entry in bytes.
_SIZE = 512

#: How long a suspect is remembered, in seconds.
_REMEMBERED = 24 * 3600

_MAGIC = b"SFcalls1".ljust(_SIZE, b"\0")
_FILE = len(_MAGIC) + (CALLS + SUSPECTS) * _SIZE

#: Of an entry: whether it is used, the ends of the process, the messages of its batch, the second
#: at which it became a suspect, and the length of the label that follows.
_HEAD = struct.Struct("<BBHIH")
_MOST = 0xFFFF


class InFlight:
    """Keeps the file of the calls in flight. The engine's owner calls its methods.

    :param path: The file, which is made if it does not exist.
    :raises OSError: It cannot be made.
    """

    def __init__(self, path: str) -> None:
        self.suspects = Suspects()
        #: Where the unused entries begin.
        self._free = [_place(number) for number in range(CALLS)]
        self._finishing: Call | None = None
        self._applied: list[Address] = []
        self._map = _mapped(path)
        self._judge()

    @classmethod
    def beside(cls, database: str) -> InFlight | None:
        """Return the file beside a database; None for one in memory, or if it cannot be made."""
        if database == ":memory:":
            return None
        path = os.path.join(os.path.dirname(database), NAME)
        try:
            return cls(path)
        except OSError as exc:
            logger.warning(
                "'%s' cannot be used: %s. The engine runs, and does not count the messages that end"
                " its process.",
                path,
                exc.strerror or exc,
            )
            return None

    def begin(self, call: Call) -> None:
        """Note that a call is made, if its function runs in this process."""
        if isinstance(call.endpoint, InProcess):
            self._enter(call)

    def finishing(self, call: Call) -> None:
        """Note that the engine begins to read and apply an answer."""
        if call.slot is None:
            self._enter(call)
        self._finishing = call

    def end(self, call: Call) -> None:
        """Note that the engine has applied an answer, or dealt with a failure."""
        self._finishing = None
        self._applied.append(call.address)
        slot = call.slot
        if slot is not None:
            self._map[slot] = 0
            self._free.append(slot)
            call.slot = None

    def committed(self) -> None:
        """Note that everything that was applied is on disk."""
        self._applied.clear()
        if self.suspects.committed():
            self._write(self.suspects.items())

    def engine_failed(self) -> None:
        """Name only what the engine failed at; other calls in flight are innocent."""
        finishing = self._finishing
        labels = [label_of(each) for each in dict.fromkeys(self._applied)]
        if finishing is not None:
            labels = [label_of(finishing.address)]
        self._clear()
        for slot, label in enumerate(labels[:CALLS]):
            self._set(slot, _entry(label, 1))

    def closing(self) -> None:
        """Name nothing any more: an end of the process from now on was asked for."""
        self._free = []
        self._clear()

    def close(self) -> None:
        """Release the file."""
        self._map.close()

    # -- entries --------------------------------------------------------------------------

    def _enter(self, call: Call) -> None:
        free = self._free
        if free:
            slot = call.slot = free.pop()
            label = label_of(call.address)
            entry = _HEAD.pack(1, 0, min(len(call.batch), _MOST), 0, len(label)) + label
            self._map[slot : slot + len(entry)] = entry

    def _set(self, slot: int, entry: bytes) -> None:
        place = _place(slot)
        self._map[place : place + len(entry)] = entry

    def _clear(self) -> None:
        for slot in range(CALLS):
            self._map[_place(slot)] = 0

    def _read(self, slots: cabc.Iterable[int]) -> cabc.Iterator[tuple[bytes, Suspect]]:
        for slot in slots:
            place = _place(slot)
            used, ends, messages, since, length = _HEAD.unpack_from(self._map, place)
            if used and length <= LONGEST_LABEL:
                first = place + _HEAD.size
                yield self._map[first : first + length], Suspect(ends, messages, since)

    def _judge(self) -> None:
        """Make suspects of the calls that were in flight when the last process ended."""
        now = int(time.time())
        for label, suspect in self._read(range(CALLS, CALLS + SUSPECTS)):
            if abs(now - suspect.since) < _REMEMBERED:
                self.suspects.put(label, suspect)
        before = dict(self.suspects.items())
        entries = list(self._read(range(CALLS)))
        was_alone = len(entries) == 1 and entries[0][1].untried == 1
        for label, entry in entries:
            known = before.get(label)
            ends = min((0 if known is None else known.ends) + was_alone, 0xFF)
            self.suspects.put(label, Suspect(ends, entry.untried, now))
        self._write(self.suspects.items())
        self._clear()

    def _write(self, suspects: list[tuple[bytes, Suspect]]) -> None:
        """Write the suspects, the latest ones if there are too many."""
        entries = [_entry(label, each.untried, each.ends, each.since) for label, each in suspects][
            -SUSPECTS:
        ]
        for number in range(SUSPECTS):
            entry = entries[number] if number < len(entries) else b"\0"
            self._set(CALLS + number, entry)


def _entry(label: bytes, messages: int, ends: int = 0, since: int = 0) -> bytes:
    return _HEAD.pack(1, ends, messages, since, len(label)) + label


def _place(slot: int) -> int:
    return len(_MAGIC) + slot * _SIZE


def _mapped(path: str) -> mmap.mmap:
    """Return the memory of a file, whose blocks exist: a full disk cannot end the process."""
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0)
    file = os.open(path, flags, 0o600)
    try:
        if os.pread(file, _FILE + 1, 0)[: len(_MAGIC)] != _MAGIC or os.fstat(file).st_size != _FILE:
            os.ftruncate(file, 0)
            _fill(file)
        return mmap.mmap(file, _FILE)
    except (OSError, ValueError) as exc:
        with contextlib.suppress(OSError):
            os.ftruncate(file, 0)
        raise exc if isinstance(exc, OSError) else OSError(str(exc)) from exc
    finally:
        os.close(file)


def _fill(file: int) -> None:
    content = memoryview(_MAGIC.ljust(_FILE, b"\0"))
    written = 0
    while written < _FILE:
        written += os.pwrite(file, content[written:], written)
