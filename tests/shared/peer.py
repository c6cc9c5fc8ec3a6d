"""A server on loopback that does with each connection what a test says."""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import socket
import threading
import typing as t

#: Is called with each connection, in a thread of its own.
Behaviour = cabc.Callable[["Accepted"], None]


class Accepted:
    """A connection that a peer has accepted.

    :param number: Which of the peer's connections it is, from 1.
    """

    def __init__(self, accepted: socket.socket, number: int) -> None:
        self.socket = accepted
        self.number = number
        self._file = accepted.makefile("rb")

    def request(self) -> bytes | None:
        """Read a request and return its body; None when the connection has ended."""
        length = 0
        while (line := self._file.readline()) != b"\r\n":
            if not line:
                return None
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        return self._file.read(length)

    def say(self, data: bytes) -> None:
        self.socket.sendall(data)

    def reply(self, body: bytes = b"", head: bytes = b"") -> None:
        self.say(reply(body, head))

    def is_over(self) -> bool:
        """Wait until the client ends the connection."""
        return self.socket.recv(1) == b""

    def close(self) -> None:
        self._file.close()
        self.socket.close()

    def reset(self) -> None:
        """End the connection as a process does that dies with unread data."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.close()


def reply(body: bytes = b"", head: bytes = b"") -> bytes:
    return (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n"
        b"%sContent-Length: %d\r\n\r\n%s" % (head, len(body), body)
    )


def serve(accepted: Accepted) -> None:
    """Answer each request with its body."""
    while (body := accepted.request()) is not None:
        accepted.reply(body)


class Peer:
    """A listening socket and the threads of its connections."""

    def __init__(self, behaviour: Behaviour = serve, listener: socket.socket | None = None) -> None:
        self.behaviour = behaviour
        self.number = 0
        self._listener = listener or socket.create_server(("127.0.0.1", 0))
        name: t.Any = self._listener.getsockname()
        self.port = 0 if isinstance(name, str) else name[1]
        self.url = (
            f"http+unix://{name}" if isinstance(name, str) else f"http://127.0.0.1:{self.port}"
        )
        self._accepted: list[Accepted] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                accepted, _ = self._listener.accept()
            except OSError:
                return
            self.number += 1
            self._accepted.append(Accepted(accepted, self.number))
            thread = threading.Thread(target=self._behave, args=(self._accepted[-1],))
            self._threads.append(thread)
            thread.start()

    def _behave(self, accepted: Accepted) -> None:
        try:
            self.behaviour(accepted)
        except OSError:
            pass  # the client, or the test, has ended the connection
        finally:
            accepted.close()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for each in self._accepted:
            with contextlib.suppress(OSError):
                each.socket.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
