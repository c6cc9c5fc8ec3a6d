"""Waiting for sockets and for other threads at once."""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import queue
import selectors
import socket
import typing as t

#: Is called in the reactor's thread with what a socket is ready for.
OnReady = cabc.Callable[[int], None]


class Reactor:
    """The sockets that one thread waits for. Other threads end its wait by :meth:`wake`.

    It has no descriptors before :meth:`open`.
    """

    def __init__(self) -> None:
        self._selector: selectors.BaseSelector | None = None
        self._sender: socket.socket | None = None
        self._receiver: socket.socket | None = None
        self._is_waiting = False

    def open(self) -> None:
        """Make what :meth:`wait` needs."""
        self._selector = selectors.DefaultSelector()
        # A pair of sockets, not a pipe: on Windows, only sockets can be waited for.
        self._sender, self._receiver = socket.socketpair()
        for each in (self._sender, self._receiver):
            each.setblocking(False)
        self.watch(self._receiver, selectors.EVENT_READ, self._woken)

    def watch(self, watched: socket.socket, events: int, on_ready: OnReady) -> None:
        """Have a function called whenever a socket is ready for some of the events."""
        self._opened.register(watched, events, on_ready)

    def change(self, watched: socket.socket, events: int, on_ready: OnReady) -> None:
        """Wait for other events of a watched socket."""
        self._opened.modify(watched, events, on_ready)

    def forget(self, watched: socket.socket) -> None:
        """Stop to wait for a socket, before it is closed."""
        self._opened.unregister(watched)

    def wait(self, timeout: float | None, inbox: queue.SimpleQueue[t.Any]) -> None:
        """Call the functions of the sockets that are ready; wait until there is one.

        :param timeout: How long to wait, in seconds; None for any time.
        :param inbox: It is not waited for anything while this has items. Whoever puts an item
            calls :meth:`wake` afterwards.
        """
        # An item that is put after the look at the inbox wakes, since the flag is set before it.
        self._is_waiting = True
        ready = self._opened.select(timeout if inbox.empty() else 0.0)
        self._is_waiting = False
        for key, events in ready:
            key.data(events)

    def wake(self) -> None:
        """End the wait of the reactor's thread, if it waits. Any thread may call it."""
        sender = self._sender
        if self._is_waiting and sender is not None:
            self._is_waiting = False
            with contextlib.suppress(OSError):  # it is full, and wakes anyway; or it was closed
                sender.send(b"\0")

    def close(self) -> None:
        """Close the reactor, but not the sockets that it watches."""
        for each in (self._selector, self._sender, self._receiver):
            if each is not None:
                each.close()
        self._selector = self._sender = self._receiver = None

    @property
    def _opened(self) -> selectors.BaseSelector:
        return t.cast("selectors.BaseSelector", self._selector)

    def _woken(self, events: int) -> None:
        with contextlib.suppress(BlockingIOError):
            t.cast("socket.socket", self._receiver).recv(4096)
