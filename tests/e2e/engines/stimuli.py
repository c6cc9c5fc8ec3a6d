"""The messages that are sent at the start of the suite; the tests of test_*.py read the results."""

from __future__ import annotations

import itertools
import typing as t

from behaving import cancel
from behaving import later
from behaving import Look
from behaving import Looks
from behaving import saying
from behaving import send
from behaving import Step
from behaving import steps

from statefun_flask import Address
from statefun_flask import Message

Suite: t.TypeAlias = t.Any


def send_all(suite: Suite) -> None:
    """Send all messages. Slow scenarios run at the same time, once the engine is warm.

    On Flink the first call of each function blocks all others, so timers are late.
    """
    call(suite)
    deliver(suite)
    count(suite)
    suite.said("counting/one/batched", 200)
    follow(suite)
    expire(suite)


def expire(suite: Suite) -> None:
    written = [(0, "first"), (1500, ""), (4000, ""), (5500, "second"), (7000, ""), (9500, "")]
    rewritten = [(0, "first"), (1500, "second"), (3500, "")]
    called = [(0, "first"), (1500, ""), (3000, ""), (4500, ""), (8500, "")]
    for address, looks in (
        ("expiring/write/written", written),
        ("expiring/write/rewritten", rewritten),
        ("expiring/call/called", called),
    ):
        suite.engine.send(address, Looks([Look(*each) for each in looks]))


def deliver(suite: Suite) -> None:
    engine = suite.engine
    engine.produce("both", "key", "hello")
    for number in range(50):
        engine.produce("ordered", "ordered", str(number))
    for id in IDS:
        engine.send(Address("typed/mixed", id), "id")
    for value in (1, "one", Step("say", "one"), Message("any/type", b"\x00")):
        engine.send("typed/mixed/one", value)
    engine.send("looping/self/one", 3)
    engine.send("ordering/sender/one", 100)
    engine.send("waiting/measured/one", 500)
    engine.send("writing/records/one", "write")


def count(suite: Suite) -> None:
    engine = suite.engine
    for _ in range(3):
        engine.send("counting/one/alice", "one")
        engine.send("counting/one/bob", "one")
        engine.send("counting/other/alice", "other")
    engine.send("counting/sender/batched", 200)
    for text in ("write", "read", "read"):
        engine.send("keeping/kinds/one", text)


def follow(suite: Suite) -> None:
    for address, wanted in FOLLOWED.items():
        for each in wanted:
            suite.engine.send(address, each)


def call(suite: Suite) -> None:
    suite.engine.produce("scripted", "ingress", b"\x00raw\xff")
    if suite.threads:
        suite.send("scripted/meeting/warm", b"warm")
        suite.calls("scripted/meeting/warm", 1)
        suite.send("scripted/meeting/a", b"meet")
        suite.send("scripted/meeting/b", b"meet")
    # One after the other, as these tests are not about batches.
    for values in itertools.zip_longest(*CALLED.values()):
        sent = {to: value for to, value in zip(CALLED, values, strict=True) if value is not None}
        for to, value in sent.items():
            suite.send(to, value)
        suite.engine.eventually(
            lambda sent=sent: all(suite.worker.last(to) == value for to, value in sent.items()),
            "the next message of each function",
            so_far=lambda sent=sent: [
                to for to, value in sent.items() if suite.worker.last(to) != value
            ],
        )


IDS = ("", "a/b//c", "with space", "ünïcode ☃", "x" * 300)

#: The messages for functions that follow steps.
FOLLOWED = {
    # Messages go to other functions and other ids, and know who sent them.
    "following/a/caller": [steps(send("following/b/called", saying("hello")))],
    # Delays fire when they are due, and not in the order in which they were asked for.
    "following/a/due": [
        steps(
            later(1500, "following/a/due", saying("third")),
            later(500, "following/a/due", saying("first")),
            later(1000, "following/a/due", saying("second")),
        )
    ],
    # A delayed message has its sender for a caller, wherever it goes.
    "following/a/delayer": [steps(later(100, "following/b/delayed", saying("late")))],
    # A delay of 0 arrives after the messages that were sent with it.
    "following/a/zero": [
        steps(
            later(0, "following/a/zero", saying("delayed")),
            send("following/a/zero", saying("sent 1")),
            send("following/a/zero", saying("sent 2")),
        )
    ],
    # The order of sending and cancelling within a reply counts.
    "following/a/send-cancel": [
        steps(
            later(300, "following/a/send-cancel", saying("cancelled"), token="token"),
            cancel("token"),
            later(600, "following/a/send-cancel", saying("end")),
        )
    ],
    "following/a/cancel-send": [
        steps(
            cancel("token"),
            later(300, "following/a/cancel-send", saying("sent"), token="token"),
        )
    ],
    # A later message cancels the delay, and its token can be used again.
    "following/a/cancel-later": [
        steps(later(4000, "following/a/cancel-later", saying("cancelled"), token="token")),
        steps(cancel("token")),
        steps(
            later(4000, "following/a/cancel-later", saying("again"), token="token"),
            later(5000, "following/a/cancel-later", saying("end")),
        ),
    ],
    # A token can be used again once its message was delivered.
    "following/a/delivered": [
        steps(
            later(
                100,
                "following/a/delivered",
                saying("delivered"),
                cancel("token"),  # which has no delay to cancel any more
                later(100, "following/a/delivered", saying("again"), token="token"),
                token="token",
            )
        )
    ],
    # Cancelling an unknown token is allowed.
    "following/a/unknown": [steps(cancel("unknown"), saying("fine"))],
    # A token belongs to the id of the sender: another function of the same id cancels it,
    "following/a/same-id": [
        steps(
            later(4000, "following/a/same-id", saying("cancelled"), token="token"),
            send("following/b/same-id", cancel("token"), saying("has cancelled")),
            later(5000, "following/a/same-id", saying("end")),
        )
    ],
    # another id of the same function does not,
    "following/a/this-id": [
        steps(
            later(2500, "following/a/this-id", saying("kept"), token="token"),
            send("following/a/that-id", cancel("token"), saying("has not cancelled")),
        )
    ],
    # and neither does the target.
    "following/a/source": [
        steps(
            later(2500, "following/b/target", saying("kept"), token="token"),
            send("following/b/target", cancel("token"), saying("has not cancelled")),
        )
    ],
    # Two ids may use one token.
    "following/a/mine": [
        steps(later(300, "following/a/mine", saying("mine"), token="token")),
    ],
    "following/a/yours": [
        steps(later(300, "following/a/yours", saying("yours"), token="token")),
    ],
}

#: The messages for the functions of the scripted endpoint, round by round; None for no message.
CALLED: dict[str, list[bytes | None]] = {
    "scripted/plain/one": [b"\x00value\xff"],
    "scripted/exact/one": [b"1"],
    "scripted/untyped/one": [b"1"],
    "scripted/batched/warm": [b"0"],
    "scripted/batches/one": [b"wait", b"go"],
    "scripted/empty-body/one": [b"1", b"2"],
    "scripted/created/one": [b"1", b"2"],
    "scripted/upper-case/one": [b"1", b"2"],
    "scripted/gzip/one": [b"1", b"pass on"],
    "scripted/unknown-fields/one": [b"1"],
    "scripted/failing/one": [b"1", b"2"],
    "scripted/busy/one": [b"1", b"2"],
    "scripted/other-type/one": [b"1", b"2"],
    "scripted/parameter/one": [b"1", b"2"],
    "scripted/garbage/one": [b"1", b"2"],
    "scripted/redirecting/one": [b"1", b"2"],
    "scripted/registering/one": [b"1", b"2"],
    "scripted/registering/two": [None, b"1"],  # after the other id has registered them
    "scripted/late/one": [b"1", b"2", b"3", b"4"],
    "scripted/twice/one": [b"1", b"2", b"3"],
    "scripted/deleting/one": [b"write", b"read", b"delete", b"read"],
    "scripted/mutating/one": [b"write", b"read"],
    "scripted/delete-with-value/one": [b"write", b"delete", b"read"],
    "scripted/odd-names/one": [b"1", b"2"],
    "scripted/typeless/one": [b"unnamed", b"named", b"read"],
    "scripted/no-expiration/one": [b"1", b"2"],
}
