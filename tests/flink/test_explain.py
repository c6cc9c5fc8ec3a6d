from __future__ import annotations

import typing as t

import pytest

from statefun_flask.flink.explain import CallLog
from statefun_flask.flink.explain import cause
from statefun_flask.flink.explain import Digest
from statefun_flask.flink.explain import FailedCall
from statefun_flask.flink.explain import job_failure
from statefun_flask.flink.explain import reason

# Lines as StateFun 3.3.0 wrote them, with their first stack frames.
NETTY = """\
2026-11-24 12:49:27,315 WARN  org.apache.flink.statefun.flink.core.nettyclient.NettyRequest - \
Exception caught while trying to deliver a message: (attempt #0)ToFunctionRequestSummary(\
address=Address(example, greeter, bob), batchSize=1, totalSizeInBytes=50, numberOfStates=0)
org.apache.flink.statefun.flink.core.nettyclient.exceptions.WrongHttpResponse: \
Unexpected response code 500 (Internal Server Error)\x20
	at org.apache.flink.statefun.flink.core.nettyclient.NettyRequestReplyHandler\
.validateFullHttpResponse(NettyRequestReplyHandler.java:184)
2026-11-24 12:49:27,316 INFO  org.apache.flink.statefun.flink.core.nettyclient.NettyRequest - \
Retry #1 ToFunctionRequestSummary(address=Address(example, greeter, bob), batchSize=1, \
totalSizeInBytes=50, numberOfStates=0) ,About to sleep for 4
2026-11-24 12:49:27,336 WARN  org.apache.flink.statefun.flink.core.nettyclient.NettyRequest - \
Exception caught while trying to deliver a message: (attempt #1)ToFunctionRequestSummary(\
address=Address(example, greeter, O'Neill, (b), c), batchSize=1, totalSizeInBytes=50, \
numberOfStates=0)
org.apache.flink.shaded.netty4.io.netty.channel.AbstractChannel$AnnotatedConnectException: \
finishConnect(..) failed: Connection refused: /127.0.0.1:46133
"""
OKHTTP = """\
2026-11-24 12:53:31,980 WARN  org.apache.flink.statefun.flink.core.httpfn.RetryingCallback - \
Retriable exception caught while trying to deliver a message: ToFunctionRequestSummary(\
address=Address(example, greeter, bob), batchSize=1, totalSizeInBytes=50, numberOfStates=0)
java.net.ConnectException: Failed to connect to /127.0.0.1:43567
"""
OUT_OF_TIME = """\
2026-11-24 12:51:23,322 WARN  org.apache.flink.statefun.flink.core.nettyclient.NettyRequest - \
Exception caught while trying to deliver a message: (attempt #12)ToFunctionRequestSummary(\
address=Address(example, greeter, bob), batchSize=1, totalSizeInBytes=50, numberOfStates=0)
org.apache.flink.statefun.flink.core.nettyclient.exceptions.RequestTimeoutException
"""
INVOCATION = (
    "org.apache.flink.statefun.flink.core.functions.StatefulFunctionInvocationException:"
    " An error occurred when attempting to invoke function FunctionType(example, greeter).\n"
    "\tat org.apache.flink.statefun.flink.core.functions.StatefulFunction.receive(X.java:50)\n"
)
FORWARDING = (
    "Caused by: java.lang.IllegalStateException: Failure forwarding a message to a remote"
    " function Address(example, greeter, bob)\n\t... 25 more\n"
)


def read(text: str) -> list[FailedCall]:
    return list(CallLog().read(text.splitlines()))


def test_failed_calls_are_read_out_of_the_log_of_the_async_transport() -> None:
    assert read(NETTY) == [
        FailedCall("example/greeter", "bob", 1, "it answered 500 Internal Server Error"),
        FailedCall("example/greeter", "O'Neill, (b), c", 2, "nothing listens at 127.0.0.1:46133"),
    ]


def test_failed_calls_are_read_out_of_the_log_of_the_okhttp_transport() -> None:
    assert read(OKHTTP) == [
        FailedCall("example/greeter", "bob", None, "nothing listens at 127.0.0.1:43567")
    ]


def test_a_call_that_is_given_up_is_left_to_the_failure_of_the_job() -> None:
    assert read(OUT_OF_TIME) == []


def test_the_log_may_be_cut_between_any_two_lines() -> None:
    log = CallLog()
    calls = [call for line in (NETTY + OKHTTP).splitlines() for call in log.read([line])]
    assert calls == read(NETTY + OKHTTP)


@pytest.mark.parametrize(
    ("exception", "clause"),
    [
        (
            "java.lang.IllegalStateException: Unexpected content type text/plain",
            "it answered with the content type 'text/plain' instead of 'application/octet-stream'",
        ),
        (
            "java.lang.IllegalStateException: Wrong HTTP content-type text/plain",
            "it answered with the content type 'text/plain' instead of 'application/octet-stream'",
        ),
        (
            (
                "java.io.UncheckedIOException: com.google.protobuf.InvalidProtocolBufferException"
                "$InvalidWireTypeException: Protocol message tag had invalid wire type."
            ),
            "its reply is not a FromFunction message: Protocol message tag had invalid wire type",
        ),
        ("java.net.SocketTimeoutException: timeout", "it took longer than its endpoint allows"),
        ("java.io.IOException: something new.", "something new"),
        ("org.example.SomethingElseException", "SomethingElseException"),
    ],
)
def test_exceptions_are_put_in_words(exception: str, clause: str) -> None:
    assert reason(exception) == clause


@pytest.mark.parametrize(
    ("trace", "sentence"),
    [
        (
            INVOCATION + FORWARDING + "Caused by: org.apache.flink.statefun.flink.core"
            ".nettyclient.exceptions.RequestTimeoutException\n",
            (
                "example/greeter (id 'bob') failed: the time that its endpoint has for a call and"
                " its retries is over."
            ),
        ),
        (
            INVOCATION + FORWARDING + "Caused by: java.lang.IllegalStateException: Maximal"
            " request time has elapsed. Last known error is: invalid HTTP response code 500\n",
            "example/greeter (id 'bob') failed: it answered 500.",
        ),
        (
            INVOCATION + FORWARDING + "Caused by: java.lang.IllegalStateException: Maximal"
            " request time has elapsed. Last cause is attached\nCaused by: java.net"
            ".ConnectException: Failed to connect to /127.0.0.1:43567\nCaused by: java.net"
            ".ConnectException: Connection refused\n",
            "example/greeter (id 'bob') failed: nothing listens at 127.0.0.1:43567.",
        ),
        (
            INVOCATION + "Caused by: java.lang.IllegalArgumentException: Cannot find a provider"
            " for type FunctionType(example, nobody)\n",
            (
                "example/greeter failed: it sent a message to 'example/nobody', which no endpoint"
                " of module.yaml serves."
            ),
        ),
        (
            (
                "org.apache.flink.runtime.jobmaster.JobMasterException: TaskManager with id"
                " taskmanager-1 is no longer reachable.\n\tat org.apache.flink.x\n"
            ),
            "taskmanager-1 is gone.",
        ),
        ("java.lang.NullPointerException\n\tat org.example.X\n", "NullPointerException."),
    ],
)
def test_the_failure_of_a_job_names_the_function_and_why(trace: str, sentence: str) -> None:
    assert job_failure(trace) == sentence


def test_the_cause_is_the_message_of_the_innermost_exception() -> None:
    trace = (
        "org.apache.flink.client.program.ProgramInvocationException: The main method failed.\n"
        "\tat org.example.X\nCaused by: java.lang.IllegalStateException: There are no ingress"
        " defined.\n\t... 8 more\n"
    )
    assert cause(trace) == "There are no ingress defined"


def digest(clock: t.Callable[[], float]) -> Digest:
    return Digest(lambda function: "http://127.0.0.1:5000/statefun", clock)


def test_the_first_failed_call_is_reported_in_full() -> None:
    telling = digest(lambda: 0.0)
    telling.add(FailedCall("example/greeter", "bob", 1, "it answered 500"))
    assert list(telling.sentences()) == [
        (
            "A call of example/greeter at http://127.0.0.1:5000/statefun failed (id 'bob',"
            " attempt 1): it answered 500. It is tried again."
        )
    ]
    assert list(telling.sentences()) == []


def test_later_failed_calls_are_counted_and_reported_at_intervals() -> None:
    now = 0.0
    telling = digest(lambda: now)
    for attempt in range(1, 301):
        telling.add(FailedCall("example/greeter", "bob", attempt, "it answered 500"))
        assert len(list(telling.sentences())) == (attempt == 1)
    now = 10.0
    assert list(telling.sentences()) == [
        "299 more calls of example/greeter failed (last: id 'bob', attempt 300): it answered 500."
    ]
    telling.add(FailedCall("example/greeter", "al", None, "it answered 500"))
    assert list(telling.sentences()) == []
    now = 20.0
    assert list(telling.sentences()) == [
        "1 more call of example/greeter failed (last: id 'al'): it answered 500."
    ]


def test_another_reason_or_function_is_reported_at_once() -> None:
    telling = digest(lambda: 0.0)
    for function, why in [("a/b", "it answered 500"), ("a/b", "it is slow"), ("a/c", "it is slow")]:
        telling.add(FailedCall(function, "x", 1, why))
        assert len(list(telling.sentences())) == 1
