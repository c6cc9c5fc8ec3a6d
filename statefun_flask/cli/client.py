"""Requests of the commands to the HTTP API of a running embedded engine."""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import functools
import http.client
import json
import re
import socket
import typing as t
import urllib.parse

import click

from ..dev.printable import printable
from ..dev.printable import printable_json

if t.TYPE_CHECKING:
    from ..dev.serializer import JsonObject

#: Where an engine listens unless an option or the environment names it.
DEFAULT_URL = "http://127.0.0.1:8090"

#: The environment variable that names it.
VARIABLE = "STATEFUN_ENGINE"

#: How long a response may take, in seconds, beside the time for which a command waits.
TIMEOUT = 30.0

_NEGATIVE = re.compile(r"-\d+(\.\d+)?([eE][+-]?\d+)?", re.ASCII)

_TYPENAME = re.compile(r"[^/]+/[^/]+")


class NoEngine(click.ClickException):
    """No engine answers."""

    exit_code = 3


class NothingFound(click.ClickException):
    """There is nothing to show, or nothing of a name."""

    exit_code = 4

    def __init__(self, text: str, *, is_error: bool = False) -> None:
        super().__init__(text)
        self._is_error = is_error

    def show(self, file: t.Any = None) -> None:
        """Write the text to standard error."""
        head = "Error: " if self._is_error else ""
        click.echo(printable(f"{head}{self.format_message()}"), err=True)


class TimedOut(click.ClickException):
    """What a command waits for takes longer."""

    exit_code = 5


class EngineClient:
    """Asks an engine over HTTP.

    :param url: Where its HTTP API is: ``http://127.0.0.1:8090``.
    :raises click.UsageError: It is not such a URL.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        try:
            parts = urllib.parse.urlsplit(self.url)
            self._host, self._port = parts.hostname or "", parts.port
        except ValueError:
            parts, self._host = urllib.parse.SplitResult("", "", "", "", ""), ""
        if parts.scheme not in ("http", "https") or not self._host or parts.query or parts.path:
            raise click.UsageError(
                f"'{printable(url)}' is not the URL of an engine. Write it as {DEFAULT_URL}."
            )
        self._is_secure = parts.scheme == "https"

    # -- requests -------------------------------------------------------------------------

    def get(self, path: str, *, timeout: float = 0.0) -> t.Any:
        """Return the JSON value of a response to GET.

        :param timeout: For how long the engine may wait before it answers, in seconds.
        :raises click.ClickException: Nothing listens, or the engine refuses the request.
        """
        return self.request("GET", path, timeout=timeout)

    def post(
        self, path: str, body: bytes = b"", headers: cabc.Mapping[str, str] | None = None
    ) -> t.Any:
        """Return the JSON value of a response to POST, as :meth:`get`."""
        return self.request("POST", path, body, headers)

    def request(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: cabc.Mapping[str, str] | None = None,
        *,
        timeout: float = 0.0,
    ) -> t.Any:
        """Return the JSON value of a response, as :meth:`get`."""
        with self.open(method, path, body, headers, timeout=timeout) as response:
            data = b"".join(self.chunks(response))
        try:
            return json.loads(data)
        except ValueError:
            raise self._not_an_engine() from None

    @contextlib.contextmanager
    def open(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: cabc.Mapping[str, str] | None = None,
        *,
        timeout: float | None = 0.0,
    ) -> cabc.Iterator[http.client.HTTPResponse]:
        """Return a response that was not refused, to read from it.

        :param timeout: As of :meth:`get`; None to wait without limit.
        """
        kind = http.client.HTTPSConnection if self._is_secure else http.client.HTTPConnection
        patience = None if timeout is None else TIMEOUT + timeout
        connection = kind(self._host, self._port, timeout=patience)
        try:
            with self._explained():
                connection.request(method, path, body, dict(headers or {}))
                response = connection.getresponse()
                if response.status >= 400:
                    raise self._refused(response.status, response.read())
            yield response
        finally:
            connection.close()

    def chunks(self, response: http.client.HTTPResponse) -> cabc.Iterator[bytes]:
        """Yield the body of a response in pieces of at most a megabyte."""
        while True:
            with self._explained():
                chunk = response.read(1 << 20)
            if not chunk:
                return
            yield chunk

    def lines(self, response: http.client.HTTPResponse) -> cabc.Iterator[bytes]:
        """Yield the lines of a response as they come."""
        while True:
            with self._explained():
                line = response.readline()
            if not line:
                return
            yield line

    @contextlib.contextmanager
    def _explained(self) -> cabc.Iterator[None]:
        """Turn a failure of the connection into an exit of the command."""
        try:
            yield
        except TimeoutError:
            raise NoEngine(
                f"{self.url} does not answer. Look at the log of the engine, and ask again."
            ) from None
        except ConnectionRefusedError:
            raise NoEngine(
                f"Nothing listens on {self.url}. Start 'flask statefun dev', or name its --port."
            ) from None
        except (ConnectionError, http.client.RemoteDisconnected, http.client.IncompleteRead):
            raise NoEngine(
                f"{self.url} closed the connection without a response: it is stopping, or the"
                " request is too large. Check that 'flask statefun dev' runs, and send the request"
                " again."
            ) from None
        except http.client.HTTPException:
            raise self._not_an_engine() from None
        except (OSError, UnicodeError) as exc:
            reason = getattr(exc, "strerror", None) or exc
            raise NoEngine(f"{self.url} cannot be reached: {reason}. Correct the --url.") from None

    def pages(
        self, path: str, after: t.Any, last: cabc.Callable[[t.Any], t.Any]
    ) -> cabc.Iterator[t.Any]:
        """Yield all items that a route lists in pages.

        :param after: The item before the first one.
        :param last: Returns the name of an item, behind which the next page begins.
        """
        while page := self.get(f"{path}?after={urllib.parse.quote(str(after), safe='')}"):
            if not isinstance(page, list):
                raise self._not_an_engine()
            yield from page
            after = last(page[-1])

    def is_listening(self) -> bool:
        """Return whether any program accepts connections there."""
        port = self._port or (443 if self._is_secure else 80)
        try:
            with socket.create_connection((self._host, port), timeout=5.0):
                return True
        except OSError:
            return False

    # -- refusals -------------------------------------------------------------------------

    def _refused(self, status: int, body: bytes) -> click.ClickException:
        try:
            answer = json.loads(body)
            error = answer["error"]
        except (ValueError, TypeError, KeyError):
            return self._not_an_engine()
        text = printable(str(error))
        if status == 404:
            return NothingFound(text, is_error=True)
        return TimedOut(text) if status == 504 else click.ClickException(_for_commands(text))

    def _not_an_engine(self) -> click.ClickException:
        return NoEngine(
            f"The program that listens on {self.url} is not 'flask statefun dev'. Name the --port"
            " of that command."
        )


# -- options and arguments --------------------------------------------------------------------


def _for_commands(text: str) -> str:
    """Return the text of a refusal with the options of commands in place of headers."""
    return re.sub(r"-H 'Content-Type: application/vnd\.([^']+)'", r"--type \1", text)


F = t.TypeVar("F", bound=cabc.Callable[..., t.Any])


def asks_engine(function: F) -> F:
    """Give a command ``--url`` and ``--port``, and its function the engine that they name."""

    @click.option(
        "--url",
        envvar=VARIABLE,
        show_envvar=True,
        help=f"Where the engine listens. Default: {DEFAULT_URL}.",
    )
    @click.option(
        "--port",
        "-p",
        type=click.IntRange(1, 65535),
        help="The port of an engine on this machine, in place of --url.",
    )
    @functools.wraps(function)
    def command(url: str | None, port: int | None, **given: t.Any) -> t.Any:
        if port is not None:
            url = f"http://127.0.0.1:{port}"
        return function(engine=EngineClient(url or DEFAULT_URL), **given)

    return t.cast("F", command)


number_argument = click.argument("number", type=click.IntRange(min=0))
format_option = click.option(
    "--format",
    "output",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="Lines for people, or a JSON object in each line.",
)
type_option = click.option(
    "--type", "typename", help="The message's type. Needed when the function takes several types."
)


def _check_address(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    if value is not None and (
        len(parts := value.split("/", 2)) != 3 or not all(parts[:2]) or not _is_text(value)
    ):
        raise click.BadParameter(f"{_quoted(value)} is not an address. Write namespace/name/id.")
    return value


def _check_function(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    if value is not None and not (_TYPENAME.fullmatch(value) and _is_text(value)):
        raise click.BadParameter(f"{_quoted(value)} is not a function type. Write namespace/name.")
    return value


def _check_which(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    if value is None or (value.isascii() and value.isdecimal()):
        return value
    return _check_address(ctx, param, value)


def _is_text(value: str) -> bool:
    """Return whether an argument is UTF-8. Python keeps other bytes as lone surrogates."""
    return not any("\ud800" <= each <= "\udfff" for each in value)


def _quoted(value: str) -> str:
    return f"'{printable(value)}'"


class BodyCommand(click.Command):
    """A command whose last argument is a body, which may be a negative number."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments. A negative number is not an option."""
        options = [each for each in self.params if isinstance(each, click.Option)]
        with_value = {name for each in options if not each.is_flag for name in each.opts}
        places = [
            place
            for place, (before, each) in enumerate(zip(["", *args], args, strict=False))
            if _NEGATIVE.fullmatch(each) and before not in with_value
        ]
        if len(places) == 1 and "--" not in args:
            (place,) = places
            args = [*args[:place], *args[place + 1 :], "--", args[place]]
        return super().parse_args(ctx, args)


address_argument = click.argument("address", metavar="NAMESPACE/NAME/ID", callback=_check_address)
which_argument = click.argument(
    "which", metavar="NAMESPACE/NAME/ID | NUMBER", required=False, callback=_check_which
)
function_argument = click.argument("function", metavar="NAMESPACE/NAME", callback=_check_function)
optional_function_argument = click.argument(
    "function", metavar="[NAMESPACE/NAME]", required=False, callback=_check_function
)


def which_path(which: str) -> str:
    """Return the path of a number or an address."""
    return path_of(which) if which.isdecimal() else address_path(which)


def path_of(*segments: str) -> str:
    """Return a path of segments that are not encoded yet."""
    return "/".join(["", *(urllib.parse.quote(each, safe="") for each in segments)])


def address_path(address: str) -> str:
    """Return the path of an address."""
    return path_of(*address.split("/", 2))


def type_header(typename: str | None) -> dict[str, str]:
    """Return the header that names a message's type."""
    return {} if typename is None else {"Content-Type": f"application/vnd.{typename}"}


# -- output -----------------------------------------------------------------------------------


def write_json(value: t.Any) -> None:
    """Write a value as a line of JSON."""
    click.echo(printable_json(value))


def write_one(value: JsonObject, output: str, text: str) -> None:
    """Write what was done, as a line of JSON or of text."""
    click.echo(printable_json(value) if output == "json" else text)


def write_all(
    items: cabc.Iterable[JsonObject],
    output: str,
    text: cabc.Callable[[JsonObject], str],
    nothing: str,
) -> None:
    """Write items as they come, a line of text or JSON each.

    :param nothing: What to say if there is none.
    :raises NothingFound: There is none.
    """
    found = False
    for each in items:
        found = True
        click.echo(printable_json(each) if output == "json" else text(each))
    if not found:
        raise NothingFound(nothing)
