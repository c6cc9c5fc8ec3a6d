"""Commands that ask a running ``flask statefun dev``: send, look, and deal with failures."""

from __future__ import annotations

import collections.abc as cabc
import http.client
import json
import sys
import typing as t
import urllib.parse

import click

from ..values.address import Address

Object: t.TypeAlias = dict[str, t.Any]

at_port = click.option(
    "--port", "-p", default=8090, show_default=True, help="Where 'flask statefun dev' listens."
)
as_json = click.option("--format", "output", type=click.Choice(["text", "json"]), default="text")


def ask(
    port: int,
    method: str,
    path: str,
    body: bytes = b"",
    headers: cabc.Mapping[str, str] | None = None,
) -> t.Any:
    """Return what the engine answers to a request.

    :raises click.ClickException: Nobody listens, or the engine refuses it.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port)
    try:
        connection.request(method, path, body, dict(headers or {}))
        response = connection.getresponse()
        answer = json.loads(response.read())
    except ConnectionError:
        raise click.ClickException(
            f"Nothing listens on 127.0.0.1:{port}. Start 'flask statefun dev', or name its --port."
        ) from None
    except (ValueError, http.client.HTTPException):
        raise click.ClickException(
            f"What listens on 127.0.0.1:{port} is not 'flask statefun dev'. Name its --port."
        ) from None
    finally:
        connection.close()
    if response.status >= 400:
        error = answer.get("error", answer) if isinstance(answer, dict) else answer
        raise click.ClickException(str(error))
    return answer


def _pages(port: int, path: str, after: t.Any, last: cabc.Callable[[t.Any], t.Any]) -> t.Any:
    """Yield all that a route lists, which it does in pages.

    :param last: Returns what is to be named to get the page behind one that ends with an item.
    """
    while page := ask(port, "GET", f"{path}?after={urllib.parse.quote(str(after), safe='')}"):
        yield from page
        after = last(page[-1])


def _path(*parts: str) -> str:
    return "/".join(["", *(urllib.parse.quote(part, safe="") for part in parts)])


def _address(function: str, id: str) -> tuple[str, str, str]:
    try:
        kind = Address(function, id).type
    except ValueError as exc:
        raise click.UsageError(str(exc)) from None
    return kind.namespace, kind.name, id


@click.command("send", short_help="Send a message to a function.")
@click.argument("function")
@click.argument("id")
@click.argument("body", default="-")
@click.option("--type", "typename", help="The message's type, when the function takes several.")
@click.option("--wait", is_flag=True, help="Print all that the message causes.")
@click.option("--idempotency-key", help="Send it once under this key within 24 hours.")
@at_port
def send(
    function: str,
    id: str,
    body: str,
    typename: str | None,
    wait: bool,
    idempotency_key: str | None,
    port: int,
) -> None:
    """Send BODY to the instance ID of FUNCTION; '-' reads it from standard input.

    Text is enough for a str function, JSON for every other declared type.
    """
    headers = {"Content-Type": f"application/vnd.{typename}"} if typename else {}
    if idempotency_key:
        headers["Idempotency-Key"] = idempotency_key
    data = sys.stdin.buffer.read() if body == "-" else body.encode()
    path = _path(*_address(function, id)) + "?wait=1" * wait
    answer = ask(port, "PUT", path, data, headers)
    click.echo(f"message {answer['trace']}")
    for event in answer.get("events", ()):
        click.echo(json.dumps(event, ensure_ascii=False))


@click.command("state", short_help="Show the states of a function instance.")
@click.argument("function")
@click.argument("id", required=False)
@at_port
def state(function: str, id: str | None, port: int) -> None:
    """Show the states of the instance ID of FUNCTION; without ID, which instances have state."""
    namespace, name, _ = _address(function, "")
    if id is None:
        path = _path("-", "addresses", namespace, name)
        for address in _pages(port, path, "", lambda each: each.split("/", 2)[2]):
            click.echo(address)
        return
    values = ask(port, "GET", _path("-", "state", namespace, name, id))
    for key, value in values.items():
        click.echo(f"{key}: {json.dumps(value, ensure_ascii=False)}")
    if not values:
        click.echo(f"{function}/{id} has no state.", err=True)


@click.command("egress", short_help="Show the records of a topic.")
@click.argument("topic")
@click.option("--after", default=0, help="Only records with a higher number.")
@as_json
@at_port
def egress(topic: str, after: int, output: str, port: int) -> None:
    """Show the records that left for TOPIC, or through the egress of that id."""
    for record in _pages(port, _path("-", "egress", topic), after, lambda each: each["seq"]):
        if output == "json":
            click.echo(json.dumps(record, ensure_ascii=False))
        else:
            key = "" if record["key"] is None else f"{record['key']}: "
            click.echo(f"#{record['seq']} {key}{record['shown']}")


@click.command("parked", short_help="Show what waits for a person.")
@as_json
@at_port
def parked(output: str, port: int) -> None:
    """Show the parked addresses: the message that failed, why, and how many wait behind it."""
    found = ask(port, "GET", "/-/parked")
    for each in found:
        if output == "json":
            click.echo(json.dumps(each, ensure_ascii=False))
            continue
        value = json.dumps(each["message"]["value"], ensure_ascii=False)
        click.echo(f"{each['trace']}  {each['address']}  {each['behind']} behind  {value}")
        click.echo(f"    {each['error']}")
    if not found:
        click.echo("Nothing is parked.", err=True)


def _which(which: tuple[str, ...]) -> str:
    """Return the path of parked messages: a number, or FUNCTION ID."""
    if len(which) == 1:
        return (
            _path(which[0])
            if which[0].isdecimal()
            else "/"
            + "/".join(urllib.parse.quote(part, safe="") for part in which[0].split("/", 2))
        )
    if len(which) == 2:
        return _path(*_address(*which))
    raise click.UsageError("Name a number that 'flask statefun parked' shows, or FUNCTION ID.")


@click.command("retry", short_help="Try parked messages again.")
@click.argument("which", nargs=-1)
@at_port
def retry(which: tuple[str, ...], port: int) -> None:
    """Try a parked message again: WHICH is its number, or FUNCTION ID; without it, all."""
    path = "/-/retry" + (_which(which) if which else "")
    for address in ask(port, "POST", path)["retried"]:
        click.echo(f"{address} is tried again")


@click.command("drop", short_help="Drop a parked message.")
@click.argument("which", nargs=-1, required=True)
@at_port
def drop(which: tuple[str, ...], port: int) -> None:
    """Drop a parked message, and let those behind it go on; 'revive' puts it back."""
    for message in ask(port, "POST", "/-/drop" + _which(which))["dropped"]:
        click.echo(f"message {message['seq']} to {message['to']} is dropped")


@click.command("revive", short_help="Put a dropped message back.")
@click.argument("seq", type=int, required=False)
@at_port
def revive(seq: int | None, port: int) -> None:
    """Put the dropped message SEQ back; without it, list what was dropped."""
    if seq is None:
        for each in ask(port, "GET", "/-/dead"):
            click.echo(f"{each['seq']}  {each['to']}  {each['error']}")
        return
    message = ask(port, "POST", f"/-/revive/{seq}")["revived"]
    click.echo(f"message {message['seq']} to {message['to']} is queued again")


@click.command("replace", short_help="Give a parked message another body.")
@click.argument("function")
@click.argument("id")
@click.argument("body")
@click.option("--type", "typename", help="The message's type, when the function takes several.")
@at_port
def replace(function: str, id: str, body: str, typename: str | None, port: int) -> None:
    """Give the message that failed at an instance another BODY, and try it again."""
    headers = {"Content-Type": f"application/vnd.{typename}"} if typename else {}
    path = "/-/replace" + _path(*_address(function, id))
    ask(port, "POST", path, body.encode(), headers)
    click.echo(f"{function}/{id} is tried again with another body")


@click.command("delays", short_help="Show or fire delayed messages.")
@click.argument("action", type=click.Choice(["list", "fire"]), default="list")
@click.argument("seq", type=int, required=False)
@as_json
@at_port
def delays(action: str, seq: int | None, output: str, port: int) -> None:
    """List the delayed messages that come next, or deliver the one of number SEQ now."""
    if action == "fire":
        if seq is None:
            raise click.UsageError("Name the number of a delay: flask statefun delays fire SEQ.")
        delay = ask(port, "POST", f"/-/fire/{seq}")["fired"]
        click.echo(f"delay {seq} is delivered to {delay['to']}")
        return
    for each in ask(port, "GET", "/-/delays"):
        if output == "json":
            click.echo(json.dumps(each, ensure_ascii=False))
        else:
            value = json.dumps(each["value"], ensure_ascii=False)
            token = f"  token {each['token']}" if each["token"] else ""
            click.echo(f"{each['seq']}  due {each['due']}  {each['to']}  {value}{token}")


@click.command("trace", short_help="Show all that a message caused.")
@click.argument("number", type=int)
@as_json
@at_port
def trace(number: int, output: str, port: int) -> None:
    """Show what the message NUMBER caused, as a tree."""
    events = ask(port, "GET", f"/-/trace/{number}")
    if output == "json":
        for event in events:
            click.echo(json.dumps(event, ensure_ascii=False))
        return
    if not events:
        raise click.ClickException(
            f"Nothing is known of message {number}. The last 10,000 events are kept, or those of"
            " 32 MB."
        )
    for line in tree(events):
        click.echo(line)


def tree(events: list[Object]) -> cabc.Iterator[str]:
    """Yield the lines of a cause chain: what each message led to stands below it."""
    handled = {
        message["seq"]: event
        for event in events
        if event["event"] in ("invocation", "error")
        for message in event["messages"]
    }
    caused = {
        sent["seq"]
        for event in events
        if event["event"] == "invocation"
        for sent in (*event["sends"], *event["delays"])
    }
    # A delayed message is queued under a new number when it is due.
    roots = [seq for seq in handled if seq not in caused]
    told: set[int] = set()
    records = _records(events)
    for seq in roots:
        yield from _branch(seq, handled, records, told, 0)


def _records(events: list[Object]) -> dict[int, list[Object]]:
    """Return the egress records by the first message of the batch that wrote them."""
    found: dict[int, list[Object]] = {}
    seq = 0
    for event in events:
        if event["event"] == "invocation":
            seq = event["messages"][0]["seq"]
        elif event["event"] == "egress":
            found.setdefault(seq, []).append(event)
    return found


def _branch(
    seq: int,
    handled: dict[int, Object],
    records: dict[int, list[Object]],
    told: set[int],
    depth: int,
) -> cabc.Iterator[str]:
    event = handled[seq]
    if id(event) in told:
        return
    told.add(id(event))
    value = json.dumps(event["messages"][0]["value"], ensure_ascii=False)
    failed = f"  FAILED  {event['error']}" if event["event"] == "error" else ""
    yield f"{'  ' * depth}{event['address']}  <- {value}{failed}"
    for sent in event.get("sends", ()):
        if sent["seq"] in handled:
            yield from _branch(sent["seq"], handled, records, told, depth + 1)
        else:
            yield f"{'  ' * (depth + 1)}{sent['to']}  (waits)"
    for delay in event.get("delays", ()):
        yield f"{'  ' * (depth + 1)}{delay['to']}  (delayed)"
    for record in records.get(seq, ()):
        key = "" if record["key"] is None else f"{record['key']}: "
        yield f"{'  ' * (depth + 1)}=> {record['topic']} {key}{record['shown']}"
