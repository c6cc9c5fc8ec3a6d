"""The commands that call an engine, against a running engine."""

from __future__ import annotations

import collections.abc as cabc
import datetime as dt
import http.server
import json
import socket
import threading
import typing as t

import pytest

from statefun_flask import Address
from statefun_flask import Context
from statefun_flask import Effects
from statefun_flask import kafka_record
from statefun_flask import StateFunFlask
from statefun_flask import ValueSpec
from statefun_flask.cli.trace import tree
from statefun_flask.dev.session import Options
from statefun_flask.dev.session import Session

SEEN = ValueSpec("seen", int)

app = StateFunFlask("engine")


@app.statefun("example/greeter", states=[SEEN])
def greet(context: Context, name: str) -> Effects:
    if name == "bad":
        raise ValueError("no greeting for bad")
    if name == "later":
        delay = dt.timedelta(days=9)
        return Effects().send_after(
            Address("example/relay", name), delay, name, cancellation_token="t"
        )
    seen = (context.get_state(SEEN) or 0) + 1
    return Effects().update_state(SEEN, seen).send(Address("example/relay", name), f"{name} {seen}")


@app.statefun("example/escape", egresses=["example/out"])
def escape(context: Context, text: str) -> Effects:
    record = kafka_record("greetings", key=text, value=text)
    later = dt.timedelta(days=9)
    target = Address("example/relay", text)
    return (
        Effects()
        .egress("example/out", record)
        .send_after(target, later, text, cancellation_token=text)
    )


@app.statefun("example/relay", egresses=["example/out"])
def relay(context: Context, text: str) -> Effects:
    record = kafka_record("greetings", key=context.self_address.id, value=text)
    return Effects().egress("example/out", record)


@app.statefun("example/either")
def either(context: Context, message: str | int) -> Effects:
    return Effects()


class Commands:
    """Runs commands on an engine.

    :param settle: Waits until the engine has finished the work of a command.
    """

    def __init__(self, port: int, settle: cabc.Callable[[], None] = lambda: None) -> None:
        self.port = port
        self.settle = settle

    def __call__(self, *args: str, status: int = 0, input: str | None = None) -> str:
        arguments = ["statefun", *args, "--port", str(self.port)]
        result = app.test_cli_runner().invoke(args=arguments, input=input)
        assert result.exit_code == status, result.output
        self.settle()
        return t.cast("str", result.output)


@pytest.fixture
def session() -> cabc.Iterator[Session]:
    with app.app_context():
        session = Session(app, Options(port=0))
    session.start()
    yield session
    session.close()


@pytest.fixture
def run(session: Session) -> Commands:
    return Commands(session.server.port, lambda: session.engine.wait_idle(10))


def events(output: str) -> list[dict[str, t.Any]]:
    return [json.loads(line) for line in output.splitlines() if line.startswith("{")]


def test_send_says_the_number(run: Commands) -> None:
    assert run("send", "example/greeter", "bob", "bob") == "message 1\n"
    assert run("send", "example/greeter", "bob", input="bob") == "message 2\n"


def test_send_and_wait_prints_all_resulting_events(run: Commands) -> None:
    output = run("send", "example/greeter", "bob", "bob", "--wait")
    assert output.startswith("message 1\n")
    assert [each["event"] for each in events(output)] == ["invocation", "invocation", "egress"]
    assert events(output)[-1]["value"] == "bob 1"


def test_send_names_the_type_of_one_that_takes_several(run: Commands) -> None:
    refused = run("send", "example/either", "x", "7", status=1)
    assert refused.startswith("Error: 'example/either' takes several types")
    run("send", "example/either", "x", "7", "--type", "io.statefun.types/long")


def test_send_under_a_key_sends_once(run: Commands) -> None:
    for _ in range(2):
        sent = run("send", "example/greeter", "bob", "bob", "--idempotency-key", "k")
        assert sent == "message 1\n"


@pytest.mark.parametrize(
    ("function", "status", "told"),
    [
        ("example/greter", 1, "The function 'example/greter' does not exist. Did you mean"),
        ("greeter", 2, "Error: "),
    ],
)
def test_send_to_an_unknown_function(run: Commands, function: str, status: int, told: str) -> None:
    output = run("send", function, "bob", "bob", status=status)
    assert told in output
    assert "Traceback" not in output


def test_state(run: Commands) -> None:
    for id in ("bob", "a/b", "ü"):
        run("send", "example/greeter", id, "bob", "--wait")
    assert run("state", "example/greeter", "a/b") == "seen: 1\n"
    assert run("state", "example/greeter").splitlines() == [
        "example/greeter/a/b",
        "example/greeter/bob",
        "example/greeter/ü",
    ]
    assert run("state", "example/greeter", "eve") == "example/greeter/eve has no state.\n"


def test_more_than_a_page_is_shown(run: Commands, session: Session) -> None:
    message = session.codec.message("example/greeter", b"n")
    many = [(Address("example/greeter", f"{number:04}"), message) for number in range(1100)]
    session.engine.submit(many).result()
    session.engine.wait_idle(20)
    assert len(run("state", "example/greeter").splitlines()) == 1100
    assert len(run("egress", "greetings").splitlines()) == 1100


def test_egress(run: Commands) -> None:
    for _ in range(2):
        run("send", "example/greeter", "bob", "bob", "--wait")
    assert run("egress", "greetings") == "#1 bob: bob 1\n#2 bob: bob 2\n"
    assert run("egress", "example/out", "--after", "1") == "#2 bob: bob 2\n"
    assert [each["seq"] for each in events(run("egress", "greetings", "--format", "json"))] == [
        1,
        2,
    ]


def test_parked_retry_drop_revive_and_replace(run: Commands) -> None:
    assert run("parked") == "Nothing is parked.\n"
    run("send", "example/greeter", "bob", "bad", "--wait")
    shown = run("parked").splitlines()
    assert shown[0] == '1  example/greeter/bob  0 behind  "bad"'
    assert shown[1].startswith("    ValueError: no greeting for bad")
    assert events(run("parked", "--format", "json"))[0]["address"] == "example/greeter/bob"

    again = "example/greeter/bob is tried again\n"
    assert [run("retry"), run("retry", "1")] == [again, again]
    assert run("retry", "example/greeter", "bob") == again
    assert run("retry", "example/greeter/bob") == again

    assert run("drop", "1") == "message 1 to example/greeter/bob is dropped\n"
    assert run("revive").startswith("1  example/greeter/bob  ValueError: no greeting for bad")
    assert run("revive", "1") == "message 2 to example/greeter/bob is queued again\n"
    assert run("replace", "example/greeter", "bob", "good") == (
        "example/greeter/bob is tried again with another body\n"
    )
    run("send", "example/greeter", "bob", "bob", "--wait")
    assert run("egress", "greetings") == "#1 good: good 1\n#2 bob: bob 2\n"


def test_retry_of_an_unknown_message(run: Commands) -> None:
    told = run("retry", "99", status=1)
    assert told == (
        "Error: Nothing is parked at message 99. List the parked messages to see their names.\n"
    )
    assert "Name a number that" in run("drop", "a", "b", "c", status=2)


def test_delays(run: Commands) -> None:
    run("send", "example/greeter", "bob", "later", "--wait")
    (delay,) = events(run("delays", "--format", "json"))
    seq = delay["seq"]
    assert run("delays") == (f'{seq}  due {delay["due"]}  example/relay/later  "later"  token t\n')
    assert "Name the number of a delay" in run("delays", "fire", status=2)
    assert run("delays", "fire", str(seq)) == f"delay {seq} is delivered to example/relay/later\n"
    assert run("delays") == ""


def test_trace_is_a_tree(run: Commands) -> None:
    run("send", "example/greeter", "bob", "bob", "--wait")
    assert run("trace", "1") == (
        'example/greeter/bob  <- "bob"\n'
        '  example/relay/bob  <- "bob 1"\n'
        "    => greetings bob: bob 1\n"
    )
    run("send", "example/greeter", "eve", "bad", "--wait")
    assert run("trace", "2") == (
        'example/greeter/eve  <- "bad"  FAILED  ValueError: no greeting for bad\n'
    )
    assert len(events(run("trace", "1", "--format", "json"))) == 3
    assert run("trace", "99", status=1) == (
        "Error: No event of message 99 is kept. The engine keeps the last 10,000 events, up to"
        " 32 MB.\n"
    )


def link(number: int) -> dict[str, t.Any]:
    """Return the event of a message that sent one other message."""
    message = {"seq": number, "to": f"a/b/{number}", "value": number}
    return {
        "event": "invocation",
        "address": f"a/b/{number}",
        "messages": [message],
        "sends": [{"seq": number + 1, "to": f"a/b/{number + 1}"}],
        "delays": [],
    }


def test_a_chain_of_100_000_messages_is_a_tree_of_as_many_lines() -> None:
    lines = list(tree([link(number) for number in range(100_000)]))
    assert lines[:2] == ["a/b/0  <- 0", "  a/b/1  <- 1"]
    assert lines[21] == f"{' ' * 40}[21] a/b/21  <- 21"
    assert lines[-1] == f"{' ' * 40}[100000] a/b/100000  (waits)"
    assert len(lines) == 100_001


ESCAPE = "\x1b]0;title\x07\x9b31m\u202e\nforged"


def test_no_command_writes_an_escape_sequence_to_a_terminal(run: Commands) -> None:
    send = ("send", "example/greeter")
    outputs = [
        run(*send, ESCAPE, "bob", "--wait"),
        run(*send, ESCAPE, "bad", "--wait"),
        run(*send, ESCAPE, "behind", "--wait"),
        run("send", "example/escape", ESCAPE, ESCAPE, "--wait"),
        run("state", "example/greeter"),
        run("state", "example/greeter", ESCAPE),
        run("state", "example/greeter", f"{ESCAPE}none"),
        run("state", "example/greeter/x", ESCAPE, status=2),
        run("state", f"example/{ESCAPE}", "x", status=1),
        run("egress", "greetings"),
        run("egress", "greetings", "--format", "json"),
        run("parked"),
        run("parked", "--format", "json"),
        *(run("trace", str(number)) for number in (1, 2, 4)),
        *(run("trace", str(number), "--format", "json") for number in (1, 2, 4)),
        run("delays"),
        run("delays", "--format", "json"),
        run("retry"),
        run("retry", "example/greeter", f"{ESCAPE}none", status=1),
        run("drop", "example/greeter", ESCAPE),
        run("revive"),
        run("revive", run("revive").split()[0]),
        run("send", "example/greeter", ESCAPE, "bad", "--wait"),
        run("replace", "example/greeter", ESCAPE, "good"),
        run("delays", "fire", run("delays").split()[0]),
    ]
    for output in outputs:
        assert output
        for line in output.split("\n"):
            assert line.isprintable(), ascii(line)
            assert not line.startswith("forged")


@pytest.mark.parametrize("port", ["0", "-1", "65536", "99999999", "x"])
def test_a_port_that_does_not_exist_is_a_usage_error(port: str) -> None:
    for arguments in (["parked"], ["send", "a/b", "c", "d"], ["state", "a/b"], ["trace", "1"]):
        result = app.test_cli_runner().invoke(args=["statefun", *arguments, "-p", port])
        assert result.exit_code == 2, result.output
        assert "Invalid value for '--port' / '-p'" in result.output


def test_a_key_may_not_be_empty(run: Commands) -> None:
    refused = run("send", "example/greeter", "bob", "x", "--idempotency-key", "", status=1)
    assert refused.startswith("Error: The Idempotency-Key has 0 characters.")


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as bound:
        port = bound.getsockname()[1]
    assert Commands(port)("parked", status=1) == (
        f"Error: Nothing listens on 127.0.0.1:{port}."
        " Start 'flask statefun dev', or name its --port.\n"
    )


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"detail": "no"}', b'"no"'])
def test_something_else_listens(body: bytes) -> None:
    class Other(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(404)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Other) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            told = Commands(server.server_port)("parked", status=1)
        finally:
            server.shutdown()
            thread.join()
    assert told.startswith("Error: ")
    assert "Traceback" not in told
