"""The 2.x handler beside our 3.x one: ``python -m benchmarks.v2 [--quick]``.

The function and the values are the same; the requests differ in the protocol only. Each request
goes to a handler that is pinned to its protocol, and to one that detects the protocol."""

from __future__ import annotations

import argparse
import statistics
import timeit

from statefun_flask import RequestHandler
from statefun_flask.protocol.schema.request_reply_v2 import FromFunction
from statefun_flask.protocol.schema.request_reply_v2 import ToFunction
from statefun_flask.protocol.schema.types import StringWrapper

from . import handler
from .contestants import ours

INT32_41 = b"\x0a\x2etype.googleapis.com/google.protobuf.Int32Value\x12\x02\x08\x29"


def request(messages: int) -> bytes:
    """Return the request of :func:`benchmarks.handler.request` in the form of 2.x."""
    to_function = ToFunction()
    batch = to_function.invocation
    batch.target.namespace, batch.target.type, batch.target.id = "example", "person", "bob"
    batch.state.add(state_name="seen", state_value=INT32_41)
    for number in range(messages):
        argument = batch.invocations.add().argument
        argument.type_url = "type.googleapis.com/google.protobuf.StringValue"
        argument.value = StringWrapper(value=f"person {number}").SerializeToString()
    return to_function.SerializeToString()


def compare(messages: int, rounds: int, length: float) -> None:
    """Time one size of request and print a table."""
    pinned_3 = RequestHandler(ours.registry, protocol="v3")
    pinned_2 = RequestHandler(ours.registry, protocol="v2")
    auto = RequestHandler(ours.registry)
    body_2, body_3 = request(messages), handler.request(messages)
    assert auto(body_3) == pinned_3(body_3)
    assert auto(body_2) == pinned_2(body_2)
    assert len(FromFunction.FromString(pinned_2(body_2)).invocation_result.outgoing_messages) == (
        messages
    )

    cases = {
        "3.x pinned": timeit.Timer(lambda: pinned_3(body_3)),
        "3.x auto": timeit.Timer(lambda: auto(body_3)),
        "2.x pinned": timeit.Timer(lambda: pinned_2(body_2)),
        "2.x auto": timeit.Timer(lambda: auto(body_2)),
    }
    number = max(5, int(length * 100 / cases["3.x pinned"].timeit(100)))
    times: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(rounds):
        for name, timer in cases.items():
            times[name].append(timer.timeit(number) / number)

    base = times["3.x pinned"]
    print(f"\n{messages} message{'s' * (messages > 1)} a request, median of {rounds} rounds")
    for name, measured in times.items():
        speed = statistics.median(b / m for b, m in zip(base, measured, strict=True))
        micros = statistics.median(measured) / messages * 1e6
        print(f"  {name:<12} {micros:8.2f} µs a message   {speed:5.2f} × the speed of 3.x")


def main() -> None:
    """Measure one and a hundred messages per request."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="shorter rounds, wider error")
    options = parser.parse_args()
    for messages in (1, 100):
        compare(messages, 5 if options.quick else 15, 0.05 if options.quick else 0.2)


if __name__ == "__main__":
    main()
