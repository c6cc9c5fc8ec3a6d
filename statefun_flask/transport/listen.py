"""The address of a server: ``host:port``, or ``unix:path`` for a Unix socket."""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import errno
import os
import pathlib
import socket
import sys
import typing as t

PREFIX = "unix:"


class ListenAddress(t.NamedTuple):
    """An address that a server listens at: host and port, or the path of a Unix socket."""

    host: str = ""
    port: int = 0
    path: pathlib.Path | None = None

    @classmethod
    def parse(cls, text: str) -> ListenAddress:
        """Read ``host:port``, ``[::1]:port`` or ``unix:path``.

        :raises ValueError: The text has another form.
        """
        if text.startswith(PREFIX) and text != PREFIX:
            return cls(path=pathlib.Path(text.removeprefix(PREFIX)))
        host, _, port = text.rpartition(":")
        bracketed = host.startswith("[") and host.endswith("]")
        if not (host and port.isdecimal() and int(port) < 65536) or (":" in host and not bracketed):
            raise ValueError(
                f"{text!r} is not an address to listen on."
                " Write 'host:port', '[::1]:port' or 'unix:/path/of/socket'."
            )
        return cls(host.strip("[]"), int(port))

    @property
    def family(self) -> socket.AddressFamily:
        """The address family of its host."""
        return socket.AF_INET6 if ":" in self.host else socket.AF_INET

    def url(self, path: str, *, tls: bool = False) -> str:
        """Return the URL of a path, as written in module.yaml."""
        scheme = "https" if tls else "http"
        if self.path is not None:
            return f"{scheme}+unix://{self.path.absolute()}{path}"
        return f"{scheme}://{self.netloc}{path}"

    @property
    def netloc(self) -> str:
        """Host and port as written in a URL."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def clear(self) -> None:
        """Remove the Unix socket that a killed server left behind.

        :raises OSError: A server listens on it.
        """
        if self.path is None or not self.path.is_socket():
            return
        with socket.socket(socket.AF_UNIX) as client:
            try:
                client.connect(str(self.path))
            except ConnectionRefusedError:
                self.path.unlink()
            else:
                raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))

    @contextlib.contextmanager
    def reserved(self) -> cabc.Iterator[ListenAddress]:
        """Reserve the port, a free one for port 0, for servers that bind it with SO_REUSEPORT.

        :raises OSError: The port is taken, or the host does not belong to this machine.
        """
        if self.path is not None:
            self.clear()
            yield self
            return
        # Without SO_REUSEPORT first: with it the port of another server would be shared.
        with socket.create_server((self.host, self.port), family=self.family) as listening:
            port = listening.getsockname()[1]
        if sys.platform != "linux":
            # On other systems the workers share one listening socket.
            yield self._replace(port=port)
            return
        with socket.socket(self.family) as held:
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            held.bind((self.host, port))
            yield self._replace(port=port)


#: Called with the address of a server once it listens.
Started: t.TypeAlias = cabc.Callable[[ListenAddress], None]
