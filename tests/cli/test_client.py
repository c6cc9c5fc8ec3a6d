"""The commands that call an engine, against a running engine."""

from __future__ import annotations

import collections.abc as cabc
import datetime as dt
import http.server
import json
import signal
import socket
import subprocess
import sys
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
from statefun_flask.cli.until import span_text
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
    if name == "soon":
        return Effects().send_after(
            Address("example/relay", name), dt.timedelta(milliseconds=50), name
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


@app.statefun("example/both")
def both(context: Context, text: str) -> Effects:
    return Effects().send("example/greeter/a", text).send("example/greeter/b", text)


@app.statefun("example/chain")
def chain(context: Context, left: int) -> Effects:
    return Effects().send(context.self_address, left - 1) if left else Effects()


#: Whether the slow function may return.
SLOW = threading.Event()


@app.statefun("example/slow")
def slow(context: Context, text: str) -> Effects:
    SLOW.wait(10)
    return Effects()


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
    SLOW.clear()
    yield session
    SLOW.set()
    session.close()


Start = cabc.Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def command() -> cabc.Iterator[Start]:
    """Start the script ``statefun`` in a process of its own, in an empty folder."""
    started: list[subprocess.Popen[str]] = []

    def start(*args: str, **options: t.Any) -> subprocess.Popen[str]:
        arguments = [sys.executable, "-m", "statefun_flask.cli", *args]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        started.append(subprocess.Popen(arguments, **pipes, **options))
        return started[-1]

    yield start
    for each in started:
        each.kill()
        each.wait()


@pytest.fixture
def run(session: Session) -> Commands:
    return Commands(session.server.port, lambda: session.engine.wait_idle(10))


def objects(output: str) -> list[dict[str, t.Any]]:
    return [json.loads(line) for line in output.splitlines() if line.startswith("{")]


def test_send_says_the_number(run: Commands) -> None:
    assert run("send", "example/greeter/bob", "bob") == "message 1\n"
    assert run("send", "example/greeter/bob", input="bob") == "message 2\n"


def test_send_and_wait_prints_the_tree(run: Commands) -> None:
    assert run("send", "example/greeter/bob", "bob", "--wait") == (
        "message 1\n"
        'example/greeter/bob  <- "bob"\n'
        '  example/relay/bob  <- "bob 1"\n'
        "    => greetings bob: bob 1\n"
    )
    (answer,) = objects(run("send", "example/greeter/bob", "bob", "--wait", "--format", "json"))
    assert [each["event"] for each in answer["events"]] == ["invocation", "invocation", "egress"]


def test_send_and_wait_says_behind_what_it_waits(run: Commands) -> None:
    assert "FAILED  ValueError: no greeting for bad" in run(
        "send", "example/greeter/bob", "bad", "--wait"
    )
    first, second = run("send", "example/greeter/bob", "bob", "--wait").splitlines()
    assert first == "message 2"
    assert second.startswith(
        "example/greeter/bob waits behind message 1, which is parked: ValueError: no greeting"
    )
    run("pause", "example/relay")
    assert run("send", "example/greeter/eve", "eve", "--wait").splitlines()[-1] == (
        "example/relay/eve waits: example/relay is paused; 'flask statefun resume example/relay'"
    )


def test_send_and_wait_waits_for_delays_that_are_due_in_time(run: Commands) -> None:
    assert run("send", "example/greeter/bob", "soon", "--wait").splitlines()[1:] == [
        'example/greeter/bob  <- "soon"',
        '  example/relay/soon  <- "soon"',
        "    => greetings soon: soon",
    ]
    assert run("send", "example/greeter/bob", "later", "--wait").splitlines()[1:] == [
        'example/greeter/bob  <- "later"',
        "  example/relay/later  (delayed by 9 d, token t)",
    ]


def test_what_takes_longer_than_the_timeout(session: Session) -> None:
    run = Commands(session.server.port)
    refused = run("send", "example/slow/x", "x", "--wait", "--timeout", "0.05", status=5)
    assert refused == (
        "Error: Message 1 is not finished after 0.05 s. Request its events later with GET"
        " /-/trace/1.\n"
    )


def test_a_negative_number_is_a_body(run: Commands) -> None:
    assert run("send", "example/either/x", "-7", "--type", "io.statefun.types/long", "--wait") == (
        "message 1\nexample/either/x  <- -7\n"
    )
    assert "No such option" in run("send", "example/either/x", "--wiat", status=2)


def test_send_names_the_type_of_one_that_takes_several(run: Commands) -> None:
    assert run("send", "example/either/x", "7", status=1) == (
        "Error: 'example/either' takes several types, so the type must be named. Add --type"
        " io.statefun.types/string or --type io.statefun.types/long.\n"
    )
    run("send", "example/either/x", "7", "--type", "io.statefun.types/long")
    assert "Did you mean 'io.statefun.types/long'" in run(
        "send", "example/either/x", "7", "--type", "io.statefun.types/lng", status=1
    )


def test_send_under_a_key_sends_once(run: Commands) -> None:
    send = ("send", "example/greeter/bob", "bob", "--idempotency-key", "k")
    assert run(*send) == "message 1\n"
    assert run(*send) == "message 1 (sent before under this key)\n"


@pytest.mark.parametrize(
    ("address", "status", "told"),
    [
        ("example/greter/x", 4, "The function 'example/greter' does not exist. Did you mean"),
        ("greeter", 2, "'greeter' is not an address. Write namespace/name/id."),
        ("example/greeter", 2, "'example/greeter' is not an address. Write namespace/name/id."),
        ("/greeter/x", 2, "'/greeter/x' is not an address."),
    ],
)
def test_send_to_an_unknown_function(run: Commands, address: str, status: int, told: str) -> None:
    output = run("send", address, "bob", status=status)
    assert told in output
    assert "Traceback" not in output


def test_state_and_list(run: Commands) -> None:
    assert run("list", status=4) == "No instance has messages or state.\n"
    for id in ("bob", "a/b", "ü", ""):
        run("send", f"example/greeter/{id}", "bob", "--wait")
    assert run("state", "example/greeter/a/b") == "seen: 1\n"
    assert objects(run("state", "example/greeter/", "--format", "json")) == [{"seen": 1}]
    assert [line.split()[0] for line in run("list", "example/greeter").splitlines()] == [
        "example/greeter/",
        "example/greeter/a/b",
        "example/greeter/bob",
        "example/greeter/ü",
    ]
    assert run("list").splitlines()[0] == "example/greeter/  idle"
    assert run("state", "example/greeter/eve", status=4) == "'example/greeter/eve' has no state.\n"
    assert "'example/greter'" in run("list", "example/greter", status=4)
    assert "'a/b/c' is not a function type" in run("list", "a/b/c", status=2)


def test_more_than_a_page_is_shown(run: Commands, session: Session) -> None:
    message = session.codec.message("example/greeter", b"n")
    many = [(Address("example/greeter", f"{number:04}"), message) for number in range(1100)]
    session.engine.submit(many).result()
    session.engine.wait_idle(20)
    assert len(run("list").splitlines()) == 1100
    assert len(run("egress", "greetings").splitlines()) == 1100
    assert len(run("events").splitlines()) > 2200


def test_egress(run: Commands) -> None:
    assert run("egress", "greetings", status=4) == "There is no record of 'greetings'.\n"
    for _ in range(2):
        run("send", "example/greeter/bob", "bob", "--wait")
    assert run("egress", "greetings") == "#1 bob: bob 1\n#2 bob: bob 2\n"
    assert run("egress", "example/out", "--after", "1") == "#2 bob: bob 2\n"
    assert [each["seq"] for each in objects(run("egress", "greetings", "--format", "json"))] == [
        1,
        2,
    ]
    assert run("egress", "greetings", "--after", "2", status=4) == (
        "There is no record of 'greetings' after 2.\n"
    )


def test_parked_and_dead(run: Commands) -> None:
    assert run("parked", "list", status=4) == "No address is parked.\n"
    assert run("parked", "retry", "--all", status=4) == "No address is parked.\n"
    assert run("dead", "list", status=4) == "There is no dead letter.\n"
    run("send", "example/greeter/bob", "bad", "--wait")
    shown = run("parked", "list").splitlines()
    assert shown[0] == 'example/greeter/bob  (message 1)  <- "bad"'
    assert shown[1].startswith("    ValueError: no greeting for bad")
    (listed,) = objects(run("parked", "list", "--format", "json"))
    assert listed["address"] == "example/greeter/bob"

    again = "example/greeter/bob is tried again\n"
    assert [run("parked", "retry", which) for which in ("1", "--all")] == [again, again]
    assert run("parked", "retry", "example/greeter/bob") == again

    assert run("parked", "drop", "example/greeter/bob") == (
        "message 1 to example/greeter/bob is dropped; 'flask statefun dead revive 1' puts it back\n"
    )
    assert run("dead", "list").splitlines()[0] == '1  example/greeter/bob  <- "bad"'
    assert run("dead", "revive", "1") == "message 2 to example/greeter/bob is queued again\n"
    assert run("parked", "replace", "example/greeter/bob", "good") == (
        "example/greeter/bob is tried again with another body\n"
    )
    run("send", "example/greeter/bob", "bob", "--wait")
    assert run("egress", "greetings") == "#1 good: good 1\n#2 bob: bob 2\n"


def test_several_parked_addresses_are_dropped_on_demand_only(run: Commands) -> None:
    run("send", "example/both/x", "bad", "--wait")
    refused = run("parked", "drop", "1", status=1)
    assert refused == (
        "Error: Message 1 has led to 2 parked addresses: 'example/greeter/a', 'example/greeter/b'."
        " Name one of them, or ask for all.\n"
    )
    assert "or add --all" in run("parked", "drop", status=2)
    assert len(run("parked", "list").splitlines()) == 4
    assert len(run("parked", "drop", "1", "--all").splitlines()) == 2
    assert run("dead", "purge", status=2)
    number = run("dead", "list").split()[0]
    assert run("dead", "purge", number).endswith("is deleted\n")
    assert run("dead", "purge", "--all") == "1 dead letter is deleted\n"


def test_retry_of_an_unknown_message(run: Commands) -> None:
    told = run("parked", "retry", "99", status=4)
    assert told == (
        "Error: Nothing is parked at message 99. List the parked messages to see their names.\n"
    )
    assert "is not an address" in run("parked", "drop", "a", status=2)


def test_delays(run: Commands) -> None:
    assert run("delays", "list", status=4) == "No message is delayed.\n"
    run("send", "example/greeter/bob", "later", "--wait")
    (delay,) = objects(run("delays", "list", "--format", "json"))
    seq = str(delay["seq"])
    assert run("delays", "list") == (f'{seq}  in 9 d  example/relay/later  <- "later"  (token t)\n')
    assert run("delays", "fire", seq) == f"delay {seq} is delivered to example/relay/later\n"
    assert run("delays", "fire", seq, status=4).startswith(f"Error: There is no delay {seq}.")

    run("send", "example/greeter/bob", "later", "--wait")
    (delay,) = objects(run("delays", "list", "--format", "json"))
    seq = str(delay["seq"])
    assert run("delays", "cancel", seq) == f"delay {seq} to example/relay/later is cancelled\n"
    assert run("delays", "list", status=4)
    assert run("trace", "2").endswith("example/relay/later  (cancelled)\n")


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (-5, "0 s"),
        (0, "0 s"),
        (20, "20 ms"),
        (27_001, "28 s"),
        (59_999, "1 min"),
        (90_061_000, "1 d 1 h"),
        ((1 << 63) - 1, "106751991167 d"),
    ],
)
def test_times_to_come(milliseconds: int, text: str) -> None:
    assert span_text(milliseconds) == text


# -- how busy, and what happens -----------------------------------------------------------------


def test_status(run: Commands) -> None:
    assert run("status").splitlines() == [
        "idle",
        "queued        0",
        "ready         0",
        "in flight     0",
        "backing off   0",
    ]
    run("send", "example/greeter/bob", "bad", "--wait")
    run("pause", "example/relay")
    assert run("status", "--wait").splitlines()[5:] == [
        "parked        1  (see 'flask statefun parked list')",
        "paused        example/relay  (call it again: 'flask statefun resume example/relay')",
    ]
    (found,) = objects(run("status", "--format", "json"))
    assert (found["idle"], found["parked"], found["held"]) == (True, 1, ["example/relay"])


def test_status_waits_until_the_engine_is_idle(session: Session) -> None:
    run = Commands(session.server.port)
    SLOW.clear()
    run("send", "example/slow/x", "x")
    assert run("status", "--wait", "0.05", status=5).endswith(
        "Error: The engine is not idle after 0.05 s.\n"
    )
    threading.Timer(0.1, SLOW.set).start()
    assert run("status", "--wait", "20").startswith("idle\n")


def test_pause_and_resume(run: Commands) -> None:
    assert run("pause", "example/greeter") == "example/greeter is paused, 0 addresses wait\n"
    run("send", "example/greeter/bob", "bob")
    assert run("list") == "example/greeter/bob  held, 1 queued, no state\n"
    assert run("egress", "greetings", status=4)
    assert run("resume", "example/greeter") == "example/greeter is called again, 1 address waits\n"
    assert run("egress", "greetings") == "#1 bob: bob 1\n"
    assert run("resume", "example/greeter", status=4).startswith(
        "Error: Nobody has paused 'example/greeter'."
    )
    assert run("pause", "example/nothing", status=4).startswith("Error: No endpoint serves")


def test_events_that_are_kept(run: Commands) -> None:
    assert run("events", status=4) == "There is no event.\n"
    run("send", "example/greeter/bob", "bob", "--wait")
    kinds = [line.split()[1] for line in run("events").splitlines()]
    assert kinds == ["registered", "invocation", "invocation", "egress"]
    events = objects(run("events", "--format", "json"))
    assert [each["number"] for each in events] == [1, 2, 3, 3]


def test_events_are_followed(session: Session, command: Start) -> None:
    arguments = ["events", "-f", "--format", "json", "-p", str(session.server.port)]
    with command(*arguments) as process:
        assert process.stdout is not None
        run = Commands(session.server.port)
        first: list[str] = []

        def read() -> None:
            first.append(process.stdout.readline())  # type: ignore[union-attr]

        reader = threading.Thread(target=read)
        reader.start()
        while not first:  # an event that comes before the subscription is not shown
            run("send", "example/either/x", "x", "--type", "io.statefun.types/string", "--wait")
            reader.join(0.1)
        assert json.loads(first[0])["event"] in ("registered", "invocation")
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0


def test_followed_events_end_with_the_engine(session: Session, command: Start) -> None:
    with command("events", "-f", "-p", str(session.server.port)) as process:
        run = Commands(session.server.port)
        while not process.poll() and not session.history._subscriptions:
            pass
        run("send", "example/greeter/bob", "bob", "--wait")
        session.close()
        output = process.communicate(timeout=10)[0]
        assert 'invocation  #1  example/greeter/bob  <- "bob"' in output
        assert process.returncode == 3


# -- traces -------------------------------------------------------------------------------------


def test_trace_is_a_tree(run: Commands) -> None:
    run("send", "example/greeter/bob", "bob", "--wait")
    assert run("trace", "1") == (
        'example/greeter/bob  <- "bob"\n'
        '  example/relay/bob  <- "bob 1"\n'
        "    => greetings bob: bob 1\n"
    )
    run("send", "example/greeter/eve", "bad", "--wait")
    assert run("trace", "2") == (
        'example/greeter/eve  <- "bad"  FAILED  ValueError: no greeting for bad\n'
    )
    assert len(objects(run("trace", "1", "--format", "json"))) == 3
    assert run("trace", "99", status=4) == (
        "No event of message 99 is kept: it was not handled yet, or it is older than the last"
        " 10,000 events (32 MB).\n"
    )


def link(number: int) -> dict[str, t.Any]:
    """Return the event of a message that sent one other message."""
    caller = f"a/b/{number - 1}" if number else None
    message = {"seq": number, "to": f"a/b/{number}", "from": caller, "value": number}
    return {
        "event": "invocation",
        "address": f"a/b/{number}",
        "messages": [message],
        "sends": [{"seq": number + 1, "to": f"a/b/{number + 1}"}],
        "delays": [],
        "cancelled": [],
    }


def test_a_long_chain_is_a_tree_of_as_many_lines() -> None:
    lines = list(tree([link(number) for number in range(20_000)]))
    assert lines[:2] == ["a/b/0  <- 0", "  a/b/1  <- 1"]
    assert lines[21] == f"{' ' * 40}[21] a/b/21  <- 21"
    assert lines[-1] == f"{' ' * 40}[20000] a/b/20000  (waits)"
    assert len(lines) == 20_001


def test_a_tree_says_that_its_beginning_is_gone() -> None:
    assert list(tree([link(number) for number in range(7, 9)])) == [
        "(earlier events are not kept any more)",
        "a/b/7  <- 7",
        "  a/b/8  <- 8",
        "    a/b/9  (waits)",
    ]


@pytest.mark.parametrize(
    ("length", "kept"), [(3000, 3000), pytest.param(100_000, 10_000, marks=pytest.mark.slow)]
)
def test_a_chain_of_an_engine_is_traced(session: Session, length: int, kept: int) -> None:
    run = Commands(session.server.port)
    run("send", "example/chain/x", str(length - 1))
    session.engine.wait_idle(300)
    lines = run("trace", "1").splitlines()
    if kept == length:
        assert lines[0] == f"example/chain/x  <- {length - 1}"
    else:
        assert lines[0] == "(earlier events are not kept any more)"
        assert len(lines) - 1 == kept
    assert lines[-1].endswith("example/chain/x  <- 0")
    assert session.history.size < 33 << 20
    most = max(len(session.history.page(after, 1000, 1)) for after in range(0, 100_000, 1000))
    assert most <= 1000


# -- without an engine ----------------------------------------------------------------------


ESCAPE = "\x1b]0;title\x07\x9b31m\u202e\nforged"


def test_no_command_writes_an_escape_sequence_to_a_terminal(run: Commands) -> None:
    bob = f"example/greeter/{ESCAPE}"
    outputs = [
        run("send", bob, "bob", "--wait"),
        run("send", bob, "bad", "--wait"),
        run("send", bob, "behind", "--wait"),
        run("send", f"example/escape/{ESCAPE}", ESCAPE, "--wait"),
        run("list"),
        run("state", bob),
        run("state", f"{bob}none", status=4),
        run("state", ESCAPE, status=2),
        run("state", f"example/{ESCAPE}/x", status=4),
        run("list", ESCAPE, status=2),
        run("egress", "greetings"),
        run("egress", ESCAPE, status=4),
        run("egress", "greetings", "--format", "json"),
        run("parked", "list"),
        run("parked", "list", "--format", "json"),
        run("events"),
        run("status"),
        *(run("trace", str(number)) for number in (1, 2, 4)),
        *(run("trace", str(number), "--format", "json") for number in (1, 2, 4)),
        run("delays", "list"),
        run("delays", "list", "--format", "json"),
        run("parked", "retry", "--all"),
        run("parked", "retry", f"{bob}none", status=4),
        run("parked", "drop", bob),
        run("dead", "list"),
        run("dead", "revive", run("dead", "list").split()[0]),
        run("send", bob, "bad", "--wait"),
        run("parked", "replace", bob, "good"),
        run("delays", "fire", run("delays", "list").split()[0]),
    ]
    for output in outputs:
        assert output
        for line in output.split("\n"):
            assert line.isprintable(), ascii(line)
            assert not line.startswith("forged")


@pytest.mark.parametrize("port", ["0", "-1", "65536", "99999999", "x"])
def test_a_port_that_does_not_exist_is_a_usage_error(port: str) -> None:
    for arguments in (
        ["parked", "list"],
        ["send", "a/b/c", "d"],
        ["state", "a/b/c"],
        ["trace", "1"],
    ):
        result = app.test_cli_runner().invoke(args=["statefun", *arguments, "-p", port])
        assert result.exit_code == 2, result.output
        assert "Invalid value for '--port' / '-p'" in result.output


def test_a_key_may_not_be_empty(run: Commands) -> None:
    refused = run("send", "example/greeter/bob", "x", "--idempotency-key", "", status=1)
    assert refused.startswith("Error: The Idempotency-Key has 0 characters.")


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as bound:
        port = bound.getsockname()[1]
    assert Commands(port)("parked", "list", status=3) == (
        f"Error: Nothing listens on http://127.0.0.1:{port}."
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
            told = Commands(server.server_port)("parked", "list", status=3)
        finally:
            server.shutdown()
            thread.join()
    assert told.startswith("Error: ")
    assert "Traceback" not in told
