"""Addresses of hosts, looked up in threads: the system's resolver blocks."""

from __future__ import annotations

import collections.abc as cabc
import socket
import threading
import typing as t

#: What a socket is made with and connected to: its family and its address.
SocketAddress = tuple[int, t.Any]

Found = list[SocketAddress] | OSError


class Resolver:
    """Looks up hosts. Who asks for one that is being looked up gets the same result.

    :param post: Has a function called in the thread that asks.
    """

    def __init__(self, post: cabc.Callable[[cabc.Callable[[], None]], None]) -> None:
        self._post = post
        self._asked: dict[tuple[str, int], list[cabc.Callable[[Found], None]]] = {}

    def look_up(self, host: str, port: int, found: cabc.Callable[[Found], None]) -> None:
        """Have a function called with the addresses of a host: at once if it is an IP address."""
        try:
            found(_addresses(host, port, socket.AI_NUMERICHOST))
            return
        except (socket.gaierror, UnicodeError):
            pass
        asked = self._asked.setdefault((host, port), [])
        asked.append(found)
        if len(asked) == 1:
            threading.Thread(
                target=self._work, args=(host, port), name=f"statefun-dns-{host}", daemon=True
            ).start()

    def _work(self, host: str, port: int) -> None:
        result: Found
        try:
            result = _addresses(host, port, 0)
        except OSError as exc:
            result = exc
        except UnicodeError as exc:  # a host that cannot be written in IDNA
            result = OSError(f"the host {host!r} is not valid: {exc}")
        self._post(lambda: self._tell((host, port), result))

    def _tell(self, asked: tuple[str, int], result: Found) -> None:
        for found in self._asked.pop(asked, ()):
            found(result)


def _addresses(host: str, port: int, flags: int) -> list[SocketAddress]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    return [(family, address) for family, _, _, _, address in found]
