from __future__ import annotations

import base64
import collections.abc as cabc
import contextlib
import http.client
import json
import pathlib
import socket
import textwrap
import threading
import time
import typing as t

import pytest
from google.protobuf.type_pb2 import Option

from statefun_flask import Address
from statefun_flask import Context
from statefun_flask import Effects
from statefun_flask import Message
from statefun_flask import StateFunFlask
from statefun_flask.dev import api
from statefun_flask.dev import application
from statefun_flask.dev import history
from statefun_flask.dev import server
from statefun_flask.embedded import backpressure

Eventually = cabc.Callable[..., t.Any]


@pytest.fixture
def parked(client: t.Any) -> t.Any:
    """A client with ``dev/words/bob`` parked at a bad word, and a good one behind it."""
    client.put("/dev/words/bob", "bad")
    client.idle()
    client.put("/dev/words/bob", "good")
    client.idle()
    return client


def texts(client: t.Any) -> list[str]:
    return [each["value"] for each in client.get("/-/egress/lines")]


# -- the playground's routes ----------------------------------------------------------------


def test_put_sends_and_a_topic_pops(client: t.Any) -> None:
    assert client.put("/dev/words/bob", "hello") == {"trace": 1}
    assert client.put("/dev/words/bob", "hello") == {"trace": 2}
    client.idle()
    first, second = client.request("GET", "/lines"), client.request("GET", "/lines")
    assert (first.status, first.body, second.body) == (200, b"hello 1", b"hello 2")
    assert [each.headers["Statefun-Egress-Seq"] for each in (first, second)] == ["1", "2"]
    assert client.request("GET", "/lines").status == 404


def test_an_id_is_whatever_its_path_says(client: t.Any) -> None:
    client.put("/dev/words/a%2Fb%20%C3%BC", "x")
    client.idle()
    assert client.get("/-/addresses/dev/words") == ["dev/words/a/b ü"]
    assert client.get("/-/state/dev/words/a%2Fb%20%C3%BC") == {"seen": 1}


def test_the_empty_id_is_an_id(client: t.Any) -> None:
    client.put("/dev/words/", "x")
    client.idle()
    assert client.get("/-/state/dev/words/") == {"seen": 1}


@pytest.mark.parametrize("path", ["/dev/words/%ff", "/dev/words/%fe", "/dev/words/x?wait=%ff"])
def test_a_path_that_is_not_utf_8_is_refused(client: t.Any, path: str) -> None:
    reply = client.request("PUT", path, "x")
    assert reply.status == 400
    assert "is not UTF-8. Encode the id as UTF-8" in reply.json["error"]
    assert client.get("/-/addresses/dev/words") == []


@pytest.mark.parametrize("path", ["/dev/words", "/dev", "/dev/words/a/b", "/"])
def test_a_path_that_names_no_function(client: t.Any, path: str) -> None:
    reply = client.request("PUT", path, "x")
    assert reply.status == 404
    assert reply.json == {
        "error": f"'{path}' names no function. Use /namespace/name/id.",
    }


def test_a_type_that_no_handler_takes(client: t.Any) -> None:
    def refused(typename: str) -> str:
        headers = {"Content-Type": f"application/vnd.{typename}"}
        reply = client.request("PUT", "/dev/order/1", '{"item": "tea"}', headers)
        assert reply.status == 415
        return t.cast("str", reply.json["error"])

    assert refused("Order") == (
        "'dev/order' takes no message of the type 'Order'. Did you mean 'example/Order'? It takes"
        " example/Order."
    )
    assert refused("example/Ordr") == (
        "'dev/order' takes no message of the type 'example/Ordr'. Did you mean 'example/Order'? It"
        " takes example/Order."
    )
    assert client.get("/-/instances") == []
    header = "application/vnd.example/Other"
    assert client.put("/dev/any/1", "x", Content_Type=header) == {"trace": 1}


def test_an_unknown_function(client: t.Any) -> None:
    reply = client.request("PUT", "/dev/wordy/bob", "x")
    assert reply.status == 404
    assert "'dev/words'" in reply.json["error"]


def test_a_refused_body(client: t.Any) -> None:
    reply = client.request("PUT", "/dev/order/1", '{"item": 5}')
    assert reply.status == 400
    assert "Expected `str`, got `int` - at `$.item`" in reply.json["error"]


def test_the_header_that_a_415_names_works(client: t.Any) -> None:
    reply = client.request("PUT", "/dev/either/1", '{"item": "tea"}')
    assert reply.status == 415
    header = "application/vnd.example/Order"
    assert f"-H 'Content-Type: {header}'" in reply.json["error"]
    assert client.put("/dev/either/1", '{"item": "tea"}', Content_Type=header) == {"trace": 1}


@pytest.mark.parametrize(
    "path", ["/-/nothing", "/-/state/dev", "/-/trace/x", "/-/egress", "/-", "/-/retry"]
)
def test_there_is_no_such_route(client: t.Any, path: str) -> None:
    reply = client.request("GET", path)
    assert reply.status == 404
    assert "There is no route '/-" in reply.json["error"]


@pytest.mark.parametrize("method", ["DELETE", "PATCH", "OPTIONS"])
def test_another_method_is_refused(client: t.Any, method: str) -> None:
    reply = client.request(method, "/dev/words/bob")
    assert reply.status == 405
    assert reply.json == {"error": f"The method {method} is not known. Use GET, PUT or POST."}


def test_a_body_may_come_in_chunks(client: t.Any) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", client.session.server.port, timeout=10)
    for _ in range(2):
        connection.request("PUT", "/dev/words/bob", iter([b"hel", b"lo"]), encode_chunked=True)
        assert connection.getresponse().read().startswith(b'{"trace"')
    connection.close()
    client.idle()
    assert texts(client) == ["hello 1", "hello 2"]


def raw(client: t.Any, request: bytes, *, ends: bool = False) -> bytes:
    """Return the response of the server to bytes until it closes the connection.

    :param ends: Close the sending half first.
    """
    with socket.create_connection(("127.0.0.1", client.session.server.port), 10) as connection:
        connection.sendall(request)
        if ends:
            connection.shutdown(socket.SHUT_WR)
        answer = b""
        while data := connection.recv(65536):
            answer += data
    return answer


HEAD = b"PUT /dev/words/bob HTTP/1.1\r\nHost: localhost\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
NEXT = b"PUT /dev/words/eve HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx"


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (HEAD + b"Content-Length: -1\r\n\r\n", 400),
        (HEAD + b"Content-Length: many\r\n\r\n", 400),
        (HEAD + b"Content-Length: 1_0\r\n\r\n", 400),
        (HEAD + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n", 400),
        (HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nx", 400),
        (HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (HEAD.replace(b"1.1", b"1.0") + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (HEAD.replace(b"1.1", b"9.9") + b"\r\n", 400),
        (HEAD + b"Transfer-Encoding: identity\r\nContent-Length: 1\r\n\r\nx", 501),
        (HEAD + b"Content-Length: 1099511627776\r\n\r\n", 413),
        (HEAD + b"X: y\r\n folded: z\r\n\x00\r\n\r\n", 400),
        (CHUNKED + b"-5\r\nhello\r\n0\r\n\r\n", 400),
        (CHUNKED + b"0x5\r\nhello\r\n0\r\n\r\n", 400),
        (CHUNKED + b"0_5\r\nhello\r\n0\r\n\r\n", 400),
        (CHUNKED + b"2\r\nhello\r\n0\r\n\r\n", 400),
    ],
)
def test_a_request_with_wrong_framing_is_refused_and_its_connection_closed(
    client: t.Any, request_: bytes, status: int
) -> None:
    check_refused(client, raw(client, request_ + NEXT), status)


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (HEAD + b"X: " + b"x" * (server.MAX_HEAD - len(HEAD) - 3), 431),
        (CHUNKED + b"1" * 2000, 400),
        (CHUNKED + b"0\r\nX: " + b"x" * server.MAX_HEAD, 400),
    ],
)
def test_a_request_without_a_valid_end_is_refused(
    client: t.Any, request_: bytes, status: int
) -> None:
    check_refused(client, raw(client, request_), status)


def check_refused(client: t.Any, answer: bytes, status: int) -> None:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status) or head.startswith(b"HTTP/1.0 %d " % status)
    assert b"Connection: close" in head
    assert list(json.loads(body)) == ["error"]
    client.idle()
    assert client.get("/-/addresses/dev/words") == []


def test_a_client_may_close_its_sending_half(client: t.Any) -> None:
    assert raw(client, NEXT, ends=True).startswith(b"HTTP/1.1 200 ")


def test_a_body_in_chunks_is_limited_in_total(
    start: cabc.Callable[..., t.Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "MAX_BODY", 10_000)
    client = start()
    client.put("/dev/blob/x", b"x" * 10_000)
    assert client.request("PUT", "/dev/blob/x", b"x" * 10_001).status == 413
    answer = raw(client, CHUNKED + (b"3e8\r\n" + b"x" * 1000 + b"\r\n") * 12)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"The body is larger than 10000 bytes. Send smaller messages." in answer


def test_idle_connections_keep_no_other_client_out(
    start: cabc.Callable[..., t.Any], monkeypatch: pytest.MonkeyPatch, eventually: Eventually
) -> None:
    monkeypatch.setattr(server, "MAX_CONNECTIONS", 20)
    client = start()
    address = ("127.0.0.1", client.session.server.port)
    before = threading.active_count()
    with contextlib.ExitStack() as stack:
        for number in range(100):
            idle = stack.enter_context(socket.create_connection(address, 10))
            if number % 2:
                idle.sendall(HEAD + b"Content-Length: 9\r\n\r\nx")
        client.put("/dev/words/bob", "x")
        open_ = client.session.server._server.active_channels
        eventually(lambda: len(open_) <= 20)
    assert threading.active_count() - before <= 2


def test_one_connection_takes_many_requests(client: t.Any) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", client.session.server.port, timeout=10)
    began = time.monotonic()
    for number in range(50):
        connection.request("PUT", f"/dev/words/{number}", "x")
        assert json.loads(connection.getresponse().read()) == {"trace": number + 1}
    connection.close()
    # A response in two pieces would wait 40 ms for the acknowledgement of the client.
    assert time.monotonic() - began < 1.9


# -- who may ask ----------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8090", "127.0.0.1.evil:80", ""])
@pytest.mark.parametrize("method", ["GET", "PUT", "POST"])
def test_a_foreign_host_is_refused(client: t.Any, host: str, method: str) -> None:
    reply = client.request(method, "/dev/words/bob", "x", {"Host": host})
    assert reply.status == 403
    assert reply.json == {
        "error": "Only programs on this machine may send requests."
        " Use http://127.0.0.1 and no Origin header.",
    }


@pytest.mark.parametrize("origin", ["http://evil.example", "http://127.0.0.1:8090", "null"])
def test_any_origin_is_refused(client: t.Any, origin: str) -> None:
    for path in ("/dev/words/bob", "/-/retry"):
        assert client.request("POST", path, "x", {"Origin": origin}).status == 403
    assert client.request("GET", "/-/events", headers={"Origin": origin}).status == 403
    client.idle()
    assert client.get("/-/addresses/dev/words") == []


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "localhost:1", "LOCALHOST:1"])
def test_requests_under_the_names_of_this_machine_are_accepted(client: t.Any, host: str) -> None:
    assert client.request("GET", "/-/status", headers={"Host": host}).status == 200


def test_it_listens_on_loopback_alone(client: t.Any) -> None:
    assert client.session.server.address[0] == "127.0.0.1"


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Referer": "http://evil.example/page"},
        {"Referer": "http://["},
        {"Host": "127.0.0.1:evil.com"},
        {"Host": "127.0.0.1:80@evil"},
    ],
)
def test_a_page_of_another_site_cannot_remove_a_record(
    client: t.Any, headers: dict[str, str]
) -> None:
    client.put("/dev/out/bob", "hello")
    client.idle()
    assert client.request("GET", "/lines", headers=headers).status == 403
    allowed = {"Sec-Fetch-Site": "none", "Referer": "http://127.0.0.1:8090/"}
    reply = client.request("GET", "/lines", headers=allowed)
    assert (reply.status, reply.body) == (200, b"hello")


# -- looking --------------------------------------------------------------------------------


def test_a_page_of_records_is_bounded_by_bytes(
    client: t.Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "PAGE_BYTES", 100)
    for _ in range(6):
        client.put("/dev/out/bob", "x" * 30)
    client.idle()
    assert [each["seq"] for each in client.get("/-/egress/lines")] == [1, 2, 3, 4]
    assert [each["seq"] for each in client.get("/-/egress/lines?after=4")] == [5, 6]


def test_addresses_come_in_pages(client: t.Any) -> None:
    for id in "abc":
        client.put(f"/dev/words/{id}", "x")
    client.idle()
    assert client.get("/-/addresses/dev/words?limit=2") == ["dev/words/a", "dev/words/b"]
    assert client.get("/-/addresses/dev/words?after=b") == ["dev/words/c"]


def test_egress_is_read_from_a_number_on_and_stays(client: t.Any) -> None:
    for _ in range(3):
        client.put("/dev/words/bob", "x")
    client.idle()
    records = client.get("/-/egress/lines?after=1")
    assert [each["seq"] for each in records] == [2, 3]
    assert records[0] == {
        "seq": 2,
        "trace": 2,
        "egress": "dev/egress",
        "topic": "lines",
        "key": "x",
        "value": "x 2",
        "shown": "x 2",
    }
    assert len(client.get("/-/egress/dev/egress")) == 3, "by the egress's identifier too"
    assert len(client.get("/-/egress/lines?limit=2")) == 2


@pytest.mark.parametrize("path", ["/-/state/dev/wordz/bob", "/-/addresses/dev/wordz"])
def test_looking_at_an_unknown_function(client: t.Any, path: str) -> None:
    reply = client.request("GET", path)
    assert reply.status == 404
    assert reply.json["error"].startswith(
        "No endpoint serves the function 'dev/wordz'. Did you mean 'dev/words'"
    )


def test_a_value_that_is_not_a_number(client: t.Any) -> None:
    reply = client.request("GET", "/-/egress/lines?after=x")
    assert (reply.status, reply.json) == (
        400,
        {"error": "'after=x' is not a number. Write it as after=0."},
    )


def test_status(client: t.Any) -> None:
    assert client.get("/-/status") == {
        "idle": True,
        "ready": 0,
        "in_flight": 0,
        "queued": 0,
        "retrying": 0,
        "parked": 0,
        "down": [],
        "held": [],
        "undelivered": False,
        "full": None,
        "slow": [],
    }


# -- what is parked -------------------------------------------------------------------------


def test_parked_shows_the_message_the_error_and_the_waiting_messages(parked: t.Any) -> None:
    (each,) = parked.get("/-/parked")
    assert each["address"] == "dev/words/bob"
    assert (each["trace"], each["behind"], each["message"]["value"]) == (1, 1, "bad")
    assert each["error"].startswith("ValueError: bad word while invoking dev/words/bob")
    assert texts(parked) == []


@pytest.mark.parametrize("which", ["1", "dev/words/bob"])
def test_drop_continues_with_the_others_and_revive_sends_it_again(
    parked: t.Any, which: str
) -> None:
    (dropped,) = parked.post(f"/-/drop/{which}")["dropped"]
    parked.idle()
    assert (dropped["value"], texts(parked)) == ("bad", ["good 1"])
    (dead,) = parked.get("/-/dead")
    assert (dead["seq"], dead["value"]) == (dropped["seq"], "bad")

    assert parked.post(f"/-/revive/{dead['seq']}")["revived"]["value"] == "bad"
    parked.idle()
    assert parked.get("/-/dead") == []
    assert len(parked.get("/-/parked")) == 1


@pytest.mark.parametrize("which", ["", "/1", "/dev/words/bob"])
def test_retry_tries_again(parked: t.Any, which: str) -> None:
    assert parked.post(f"/-/retry{which}") == {"retried": ["dev/words/bob"]}
    parked.idle()
    assert len(parked.get("/-/parked")) == 1


def test_replace_gives_it_another_body(parked: t.Any) -> None:
    assert parked.post("/-/replace/dev/words/bob", "fine") == {"replaced": "dev/words/bob"}
    parked.idle()
    assert parked.get("/-/parked") == []
    assert sorted(texts(parked)) == ["fine 1", "good 2"]


@pytest.mark.parametrize(
    ("path", "told"),
    [
        (
            "/-/retry/99",
            "Nothing is parked at message 99. List the parked messages to see their names.",
        ),
        (
            "/-/drop/dev/words/eve",
            "Nothing is parked at 'dev/words/eve'. List the parked messages to see their names.",
        ),
        (
            "/-/revive/99",
            "There is no dropped message 99. List the dead letters to see their numbers.",
        ),
        ("/-/fire/99", "There is no delay 99. List the delays to see their numbers."),
    ],
)
def test_unknown_numbers_and_names_are_404(client: t.Any, path: str, told: str) -> None:
    reply = client.request("POST", path)
    assert (reply.status, reply.json) == (404, {"error": told})


def test_a_number_that_means_several_addresses_is_refused(
    start: cabc.Callable[..., t.Any], app: StateFunFlask
) -> None:
    @app.statefun("dev/both")
    def both(context: Context, message: str) -> Effects:
        words = [Address("dev/words", each) for each in message.split()]
        return Effects().send(words[0], "bad").send(words[1], "bad")

    client = start(app)
    client.put("/dev/both/x?wait", "a b")
    for command in ("drop", "retry"):
        reply = client.request("POST", f"/-/{command}/1")
        assert (reply.status, reply.json) == (
            409,
            {
                "error": "Message 1 has led to 2 parked addresses: 'dev/words/a', 'dev/words/b'."
                " Name one of them, or ask for all.",
                "addresses": ["dev/words/a", "dev/words/b"],
            },
        )
    first = client.get("/-/parked?limit=1")
    assert [each["address"] for each in first] == ["dev/words/a"]
    (second,) = client.get(f"/-/parked?after={first[0]['message']['seq']}")
    assert second["address"] == "dev/words/b"
    assert len(client.post("/-/drop/1?all")["dropped"]) == 2
    client.put("/dev/both/x?wait", "c d")
    assert len(client.post("/-/drop?all")["dropped"]) == 2
    (one, *_), count = client.get("/-/dead"), 4
    assert client.post(f"/-/purge/{one['seq']}")["purged"] == one
    assert client.request("POST", f"/-/purge/{one['seq']}").status == 404
    assert client.post("/-/purge?all") == {"purged": count - 1}
    assert client.get("/-/dead") == []


def test_a_path_that_is_neither_a_number_nor_an_address(client: t.Any) -> None:
    reply = client.request("POST", "/-/retry/dev/words")
    assert (reply.status, reply.json) == (
        400,
        {
            "error": "'dev/words' is neither the number of a message nor an address. Use /N or"
            " /namespace/name/id."
        },
    )
    assert client.request("POST", f"/-/fire/{10**30}").status == 404


# -- delays ---------------------------------------------------------------------------------


def test_delays_are_listed_and_fired(client: t.Any) -> None:
    before = int(time.time() * 1000)
    client.put("/dev/later/x", "3600000")
    client.idle()
    assert client.get("/-/parked") == []
    (delay,) = client.get("/-/delays")
    assert (delay["to"], delay["from"], delay["token"]) == ("dev/out/late", "dev/later/x", "t")
    assert delay["value"] == "after 3600000"
    assert 0 <= delay["due"] - before - 3_600_000 < 10_000
    assert 0 <= 3_600_000 - delay.pop("due_in_ms") < 10_000
    assert client.post(f"/-/fire/{delay['seq']}")["fired"] == delay
    client.idle()
    assert (client.get("/-/delays"), texts(client)) == ([], ["after 3600000"])


def test_a_delay_is_cancelled(client: t.Any) -> None:
    client.put("/dev/later/x", "3600000")
    client.idle()
    (delay,) = client.get("/-/delays")
    assert client.post(f"/-/cancel/{delay['seq']}")["cancelled"]["value"] == "after 3600000"
    assert client.get("/-/delays") == []
    assert client.request("POST", f"/-/cancel/{delay['seq']}").status == 404


# -- functions that a person pauses ---------------------------------------------------------


def test_pause_and_resume(client: t.Any) -> None:
    assert client.post("/-/pause/dev/words") == {"waiting": 0}
    answer = client.put("/dev/words/bob?wait", "hello")
    assert answer["events"] == []
    assert answer["waiting"] == [{"address": "dev/words/bob", "held": "dev/words"}]
    assert client.get("/-/status")["held"] == ["dev/words"]
    assert client.get("/-/instances/dev/words") == [
        {"address": "dev/words/bob", "condition": "held", "queued": 1, "state": False}
    ]
    assert client.post("/-/resume/dev/words") == {"waiting": 1}
    client.idle()
    assert texts(client) == ["hello 1"]
    assert client.get("/-/instances?after=dev/words/") == [
        {"address": "dev/words/bob", "condition": "idle", "queued": 0, "state": True}
    ]
    assert client.request("POST", "/-/pause/dev/wordz").status == 404
    assert client.request("POST", "/-/resume/dev/words").status == 404


def test_a_paused_function_is_told_at_the_next_start(
    start: cabc.Callable[..., t.Any], tmp_path: t.Any, eventually: Eventually
) -> None:
    first = start(data=str(tmp_path / "data"))
    first.post("/-/pause/dev/words")
    first.session.close()
    second = start(data=str(tmp_path / "data"))
    (event,) = eventually(lambda: second.get("/-/history"))
    assert (event["event"], event["typename"]) == ("held", "dev/words")


# -- what a message caused ------------------------------------------------------------------


def test_wait_returns_all_resulting_events(client: t.Any) -> None:
    answer = client.put("/dev/words/bob?wait", "hello")
    kinds = [(each["event"], each.get("address", each.get("topic"))) for each in answer["events"]]
    assert kinds == [
        ("invocation", "dev/words/bob"),
        ("invocation", "dev/out/hello"),
        ("egress", "lines"),
    ]
    assert answer["waiting"] == []
    kept = client.get(f"/-/trace/{answer['trace']}")
    assert [each.pop("number") for each in kept] == [2, 3, 3]
    assert answer["events"] == kept
    first, second, _ = answer["events"]
    assert first["states"] == {"seen": [None, 1]}
    assert [each["seq"] for each in first["sends"]] == [each["seq"] for each in second["messages"]]


def test_wait_ends_at_a_failure_and_at_messages_behind_one(parked: t.Any) -> None:
    assert parked.put("/dev/words/bob?wait=1", "more")["events"] == []
    answer = parked.put("/dev/words/eve?wait=1", "bad")
    (error,) = answer["events"]
    assert (error["event"], error["parked"]) == ("error", True)
    assert error["error"] == "ValueError: bad word"
    assert 'raise ValueError("bad word")' in error["traceback"]


def test_wait_says_behind_which_message_it_waits(parked: t.Any) -> None:
    (waiting,) = parked.put("/dev/words/bob?wait", "more")["waiting"]
    assert (waiting["address"], waiting["behind"]) == ("dev/words/bob", 1)
    assert waiting["error"].startswith("ValueError: bad word")
    assert parked.put("/dev/words/eve?wait", "bad")["waiting"] == [], "it failed itself"


def test_wait_with_a_timeout_waits_for_delays(client: t.Any) -> None:
    answer = client.put("/dev/later/x?wait&timeout=10", "50")
    kinds = [each["event"] for each in answer["events"]]
    assert kinds == ["invocation", "fired", "invocation", "egress"]
    fired, handled = answer["events"][1:3]
    assert fired["seq"] == handled["messages"][0]["seq"]
    long = client.put("/dev/later/x?wait&timeout=10", "3600000")
    assert [each["event"] for each in long["events"]] == ["invocation"], "it is not waited for"
    reply = client.request("PUT", "/dev/later/x?wait&timeout=soon", "1")
    assert (reply.status, reply.json) == (
        400,
        {"error": "'timeout=soon' is not a time. Write seconds as timeout=10."},
    )


def test_nothing_is_known_of_another_message(client: t.Any) -> None:
    assert client.get("/-/trace/99") == []


def test_a_key_sends_once(client: t.Any) -> None:
    answers = [client.put("/dev/words/bob", "x", Idempotency_Key="k") for _ in range(3)]
    assert answers == [{"trace": 1}, *[{"trace": 1, "repeated": True}] * 2]
    assert client.put("/dev/words/bob", "x", Idempotency_Key="other") == {"trace": 2}
    client.idle()
    assert texts(client) == ["x 1", "x 2"]


def test_a_key_belongs_to_its_address(client: t.Any) -> None:
    assert client.put("/dev/words/bob", "x", Idempotency_Key="k") == {"trace": 1}
    assert client.put("/dev/words/eve", "x", Idempotency_Key="k") == {"trace": 2}
    assert client.put("/dev/out/bob", "x", Idempotency_Key="k") == {"trace": 3}


def test_another_body_under_the_same_key_is_refused(client: t.Any) -> None:
    client.put("/dev/words/bob", "x", Idempotency_Key="k")
    reply = client.request("PUT", "/dev/words/bob", "y", {"Idempotency-Key": "k"})
    assert (reply.status, reply.json) == (
        422,
        {
            "error": "The idempotency key 'k' was used for another message to 'dev/words/bob'. Use"
            " a new key for each message."
        },
    )
    client.idle()
    assert texts(client) == ["x 1"]


@pytest.mark.parametrize("key", ["", "k" * 256])
def test_an_empty_or_long_key_is_refused(client: t.Any, key: str) -> None:
    reply = client.request("PUT", "/dev/words/bob", "y", {"Idempotency-Key": key})
    assert reply.status == 400
    assert reply.json["error"].startswith(f"The Idempotency-Key has {len(key)} characters.")


@pytest.mark.parametrize(("bound", "limit"), [("MESSAGES", 3), ("BYTES", 3000)])
def test_a_message_is_refused_while_too_many_wait(
    start: cabc.Callable[..., t.Any], monkeypatch: pytest.MonkeyPatch, bound: str, limit: int
) -> None:
    monkeypatch.setattr(backpressure, bound, limit)
    app = StateFunFlask("held")
    held = threading.Event()

    @app.statefun("dev/held")
    def hold(context: Context, message: str) -> Effects:
        held.wait(10)
        return Effects()

    client = start(app)
    for _ in range(5):
        reply = client.request("PUT", "/dev/held/x", "x" * 900)
        if reply.status != 200:
            break
    assert (reply.status, reply.headers["Retry-After"]) == (503, "1")
    found = client.get("/-/status")["queued"]
    assert reply.json["error"] == (
        f"{found} messages of {903 * found} bytes wait in the engine. Send the message again later."
    )
    held.set()
    client.idle()
    client.put("/dev/held/x", "x")


def test_a_key_sends_once_when_many_ask_at_the_same_time(client: t.Any) -> None:
    barrier = threading.Barrier(6)
    answers: list[t.Any] = []

    def ask() -> None:
        barrier.wait()
        answers.append(client.put("/dev/words/bob", "x", Idempotency_Key="k"))

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    client.idle()
    assert [each["trace"] for each in answers] == [1] * 6
    assert sum("repeated" not in each for each in answers) == 1
    assert texts(client) == ["x 1"]


def test_a_key_is_kept_with_the_data(
    start: cabc.Callable[..., t.Any], tmp_path: pathlib.Path
) -> None:
    first = start(data=str(tmp_path))
    assert first.put("/dev/words/bob", "x", Idempotency_Key="k") == {"trace": 1}
    first.session.close()
    second = start(data=str(tmp_path))
    repeated = second.put("/dev/words/bob", "x", Idempotency_Key="k")
    assert repeated == {"trace": 1, "repeated": True}
    second.idle()
    assert texts(second) == ["x 1"]


def test_a_key_is_forgotten_after_a_day(client: t.Any) -> None:
    client.put("/dev/words/bob", "x", Idempotency_Key="k")
    clock = client.session.clock
    clock.skip_to(clock.now() + 24 * 3600 * 1000 - 60_000)
    repeated = client.put("/dev/words/bob", "x", Idempotency_Key="k")
    assert repeated == {"trace": 1, "repeated": True}
    clock.skip_to(clock.now() + 60_001)
    assert client.put("/dev/words/bob", "x", Idempotency_Key="k") == {"trace": 2}


# -- events ---------------------------------------------------------------------------------


class Stream:
    """Reads server-sent events."""

    def __init__(self, port: int) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        self.connection.request("GET", "/-/events")
        self.response = self.connection.getresponse()

    def next(self) -> tuple[str, t.Any]:
        line = self.response.readline().decode()
        while not line.startswith("event: "):
            assert line.startswith(":") or line == "\n"
            line = self.response.readline().decode()
        event = line.removeprefix("event: ").strip()
        data = json.loads(self.response.readline().decode().removeprefix("data: "))
        assert self.response.readline() == b"\n"
        return event, data


def test_events_are_sent_as_they_come(client: t.Any) -> None:
    stream = Stream(client.session.server.port)
    assert stream.response.headers["Content-Type"] == "text/event-stream"
    client.put("/dev/out/bob", "hello")
    names = []
    while names[-1:] != ["egress"]:
        name, data = stream.next()
        assert data["event"] == name
        names.append(name)
    assert "invocation" in names
    assert data["value"] == "hello"
    client.session.close()
    assert stream.response.read() == b"", "the end of the engine is the end of the stream"
    stream.connection.close()


def test_the_subscription_of_a_client_that_goes_away_ends(
    client: t.Any, eventually: Eventually
) -> None:
    stream = Stream(client.session.server.port)
    subscriptions = client.session.history._subscriptions
    eventually(lambda: subscriptions)
    stream.response.close()
    stream.connection.close()
    eventually(lambda: not subscriptions)


def test_streams_occupy_no_thread_of_other_requests_and_are_limited(
    start: cabc.Callable[..., t.Any], monkeypatch: pytest.MonkeyPatch, eventually: Eventually
) -> None:
    for module in (application, server):
        monkeypatch.setattr(module, "MAX_STREAMS", 3)
    for name in ("QUICK_THREADS", "COMMIT_THREADS"):
        monkeypatch.setattr(server, name, 1)
    client = start()
    streams = [Stream(client.session.server.port) for _ in range(3)]
    client.put("/dev/words/bob", "x")
    refused = client.request("GET", "/-/events")
    assert (refused.status, refused.headers["Retry-After"]) == (503, "1")
    assert refused.json == {"error": "3 clients read events. Send the request again later."}
    assert client.get("/-/status")["parked"] == 0

    for stream in streams:
        stream.response.close()
        stream.connection.close()
    eventually(lambda: not client.session.history._subscriptions)
    again = Stream(client.session.server.port)
    again.response.close()
    again.connection.close()


def test_a_stream_says_how_many_events_it_missed(
    client: t.Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "SUBSCRIPTION_BYTES", 1)
    application = client.session.server._application
    events = application._events(lambda: False)
    assert application._streams.acquire(blocking=False)
    assert next(events) + next(events) == b": events follow\n\n"
    for _ in range(3):
        client.put("/dev/out/bob", "hello")
    client.idle()
    missed = json.loads(next(events).partition(b"data: ")[2])
    assert missed["event"] == "missed"
    assert missed["events"] >= 2
    assert next(events).startswith(b"event: invocation\n")
    events.close()


# -- topics of module.yaml ------------------------------------------------------------------

MODULE = """
kind: io.statefun.endpoints.v2/http
spec:
  functions: dev/*
  urlPathTemplate: http://127.0.0.1:5000/statefun
---
kind: io.statefun.kafka.v1/ingress
spec:
  id: dev/ingress
  address: 127.0.0.1:9092
  consumerGroupId: dev
  topics:
    - topic: orders
      valueType: example/Order
      targets: [dev/order, dev/either]
---
kind: io.statefun.playground.v1/egress
spec:
  port: 8091
  topics: [lines]
"""


def test_a_record_of_a_kafka_topic_goes_to_all_its_targets(
    start: cabc.Callable[..., t.Any], tmp_path: pathlib.Path
) -> None:
    module = tmp_path / "module.yaml"
    module.write_text(textwrap.dedent(MODULE))
    client = start(module=str(module))
    answer = client.request("PUT", "/-/topic/orders/k1", '{"item": "tea"}')
    assert (answer.status, answer.json) == (200, {"traces": [1, 2]})
    client.idle()
    called = [client.get(f"/-/trace/{trace}")[-1]["address"] for trace in (1, 2)]
    assert called == ["dev/order/k1", "dev/either/k1"]

    assert client.request("PUT", "/-/topic/orders/k1", '{"item": 1}').status == 400
    unknown = client.request("PUT", "/-/topic/names/k1", "x")
    assert (unknown.status, unknown.json) == (
        404,
        {"error": "module.yaml reads no topic 'names'. It reads 'orders'."},
    )


ELSEWHERE = """
---
kind: io.statefun.endpoints.v2/http
spec:
  functions: other/*
  urlPathTemplate: http://127.0.0.1:1/statefun
"""


def test_a_function_that_is_served_elsewhere_takes_bytes_of_a_named_type(
    start: cabc.Callable[..., t.Any], tmp_path: pathlib.Path, eventually: Eventually
) -> None:
    module = tmp_path / "module.yaml"
    module.write_text(MODULE + ELSEWHERE)
    client = start(module=str(module))
    assert client.request("PUT", "/other/fn/x", "x").status == 415
    client.put("/other/fn/x", "x", Content_Type="application/vnd.other/Thing")
    eventually(lambda: client.get("/-/status")["down"] == ["other/fn"])
    assert (
        client.request("PUT", "/unknown/fn/x", "x")
        .json["error"]
        .startswith("The function 'unknown/fn' does not exist.")
    )


def test_a_port_is_taken_once(app: StateFunFlask, client: t.Any) -> None:
    from statefun_flask.dev.session import Options
    from statefun_flask.dev.session import Session

    with app.app_context(), pytest.raises(OSError, match="in use"):
        Session(app, Options(port=client.session.server.port))


def test_a_request_that_is_cut_short_is_not_sent(client: t.Any) -> None:
    assert raw(client, HEAD + b"Content-Length: 9\r\n\r\nx", ends=True) == b""
    assert client.get("/-/addresses/dev/words") == []


# -- what cannot be shown ---------------------------------------------------------------------


def test_a_message_that_cannot_be_shown_is_answered_with_its_bytes(
    start: cabc.Callable[..., t.Any],
) -> None:
    app = StateFunFlask("odd")

    @app.statefun("dev/odd")
    def odd(context: Context, message: Option | str) -> Effects:
        if message == "bad":
            raise ValueError("file \udcff name")
        return Effects()

    @app.statefun("dev/any")
    def anything(context: Context, message: Message) -> Effects:
        return Effects()

    client = start(app)
    option = Option(name="a")
    option.value.type_url = "type.googleapis.com/un.known"
    option.value.value = b"\xff"
    typename = "application/vnd.type.googleapis.com/google.protobuf.Option"
    body = option.SerializeToString()
    found = client.put("/dev/any/x?wait", body, Content_Type=typename)
    (event,) = found["events"]
    assert event["messages"][0]["value"] == {"base64": base64.b64encode(body).decode()}

    typename = "application/vnd.io.statefun.types/string"
    found = client.put("/dev/odd/x?wait", "bad", Content_Type=typename)
    (event,) = found["events"]
    assert event["error"].startswith("ValueError: file \udcff name")
