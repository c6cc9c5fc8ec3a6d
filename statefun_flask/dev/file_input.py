"""Files of messages, one per line. Reading waits while too many messages wait in the engine.

A line is ``id<TAB>body``, or a JSON object with a field that is the id, or plain text that is its
own id.
"""

from __future__ import annotations

import collections.abc as cabc
import hashlib
import json
import os
import pathlib
import threading
import typing as t

from ..embedded import Engine
from ..embedded.backpressure import Backpressure
from ..values.address import Address
from ..values.message import Message
from .codec import MessageCodec
from .codec import RequestError

#: The number of lines that are sent at a time.
CHUNK = 500

#: The number of bytes at the start of a file that identify the file.
_START = 4096


class PositionMismatchError(ValueError):
    """The stored position belongs to an earlier version of the file."""


class LineParser:
    """Turns lines into messages.

    :param to: The function that gets the messages.
    :param id_field: The field of a JSON object that is the id.
    :param id: The id of lines that do not begin with an id.
    """

    def __init__(self, codec: MessageCodec, to: str, id_field: str | None, id: str | None) -> None:
        self._codec = codec
        self._to = to
        self._id_field = id_field
        self._id = id

    def message(self, line: bytes) -> tuple[Address, Message]:
        """Return a line's address and message.

        :raises ValueError: The line is not a message.
        """
        id, body = self._split(line)
        return Address(self._to, id), self._codec.message(self._to, body)

    def _split(self, line: bytes) -> tuple[str, bytes]:
        if self._id_field is not None:
            return _field(line, self._id_field), line
        head, tab, body = line.partition(b"\t")
        if tab:
            return head.decode(), body
        return (line.decode() if self._id is None else self._id), line


def _field(line: bytes, name: str) -> str:
    """Return a field of a JSON object that is an id."""
    try:
        fields = json.loads(line)
    except RecursionError:
        raise ValueError("it is not valid JSON: it is nested too deeply") from None
    except ValueError as exc:
        raise ValueError(f"it is not valid JSON: {exc}") from None
    if not isinstance(fields, dict) or name not in fields:
        raise ValueError(f"it is not a JSON object with a field '{name}'")
    id = fields[name]
    if isinstance(id, bool) or not isinstance(id, str | int):
        raise ValueError(
            f"its field '{name}' is {json.dumps(id)}, which is not an id; an id is text or a"
            " whole number"
        )
    return str(id)


class FileInput:
    """Sends a file's messages, in a thread of its own.

    The position is part of the commit that accepts the messages. The same command therefore
    continues with the next message. Standard input has no position.

    :param path: A file; ``-`` is standard input.
    :param from_start: Read the file from its first line, whatever position is stored.
    :param report: Called with a sentence for each line that is not a message.
    :raises PositionMismatchError: The stored position belongs to an earlier version of the file.
    """

    def __init__(
        self,
        engine: Engine,
        lines: LineParser,
        path: str,
        *,
        from_start: bool = False,
        report: cabc.Callable[[str], None],
    ) -> None:
        self.path = path
        self.sent = self.bad = 0
        self.size = 0 if path == "-" else os.path.getsize(path)
        self.offset = self.line = 0
        self.finished = False
        self.error: BaseException | None = None
        self._engine = engine
        self._lines = lines
        self._report = report
        self._stopping = threading.Event()
        self._backpressure = Backpressure(engine)
        self._name = f"input:{pathlib.Path(path).resolve()}"
        self._hash = "" if path == "-" else _hash(path)
        if path != "-" and not from_start:
            self._resume()
        self._thread = threading.Thread(target=self._run, name="statefun-input", daemon=True)

    def _resume(self) -> None:
        known = self._engine.position(self._name)
        if known is None:
            return
        position = json.loads(known)
        if position["offset"] > self.size or _hash(self.path, position["size"]) != position["hash"]:
            raise PositionMismatchError(
                f"'{self.path}' was read up to line {position['line']}, but it has changed since."
                " Add --from-start to read it from its first line."
            )
        self.offset, self.line = position["offset"], position["line"]
        self.bad = position["bad"]

    def start(self) -> None:
        """Start to send messages."""
        self._thread.start()

    def stop(self) -> None:
        """Stop sending. Messages that are not committed are sent again by the next run."""
        self._stopping.set()

    def _run(self) -> None:
        try:
            with open(0 if self.path == "-" else self.path, "rb", closefd=self.path != "-") as file:
                if self.offset:
                    file.seek(self.offset)
                self._send(file)
        except BaseException as exc:
            # A closed engine refuses the last lines. The next run reads them again.
            if not self._stopping.is_set():
                self.error = exc
        finally:
            self.finished = True

    def _send(self, file: t.IO[bytes]) -> None:
        while not self._stopping.is_set():
            messages: list[tuple[Address, Message]] = []
            raw = file.readline()
            if not raw:
                return
            while raw:
                self.line += 1
                self.offset += len(raw)
                self._read(raw.rstrip(b"\r\n"), messages)
                if len(messages) >= CHUNK or self.path == "-":
                    break
                raw = file.readline()
            positions = self._positions()
            if messages or positions:
                self._engine.submit(messages, positions).result()
            self.sent += len(messages)
            self._backpressure.wait(self._stopping)

    def _read(self, line: bytes, messages: list[tuple[Address, Message]]) -> None:
        if not line.strip():
            return
        try:
            messages.append(self._lines.message(line))
        except RequestError as exc:
            if exc.status != 400:
                raise  # the function is wrong, not the line
            self._skip(exc)
        except (ValueError, TypeError) as exc:
            self._skip(exc)

    def _skip(self, exc: Exception) -> None:
        self.bad += 1
        self._report(f"{self.path}, line {self.line} is skipped: {exc}")

    def _positions(self) -> dict[str, str]:
        if self.path == "-":
            return {}
        size = min(self.size, _START)
        position = {
            "offset": self.offset,
            "line": self.line,
            "bad": self.bad,
            "size": size,
            "hash": self._hash,
        }
        return {self._name: json.dumps(position)}


def _hash(path: str, size: int = _START) -> str:
    with open(path, "rb") as file:
        return hashlib.sha256(file.read(min(size, _START))).hexdigest()
