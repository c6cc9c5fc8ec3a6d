"""Where messages go, in what order, and who sent them."""

from __future__ import annotations

import typing as t

import pytest
import scripted
from stimuli import IDS

Suite: t.TypeAlias = t.Any


def test_a_record_goes_to_every_target_of_its_topic_and_has_no_caller(suite: Suite) -> None:
    assert suite.said("ingress/one/key", 1) == ["hello from None"]
    assert suite.said("ingress/two/key", 1) == ["hello from None"]


def test_records_of_a_key_arrive_in_their_order(suite: Suite) -> None:
    said = suite.said("ingress/one/ordered", 50)
    assert said == [f"{number} from None" for number in range(50)]


def test_a_message_knows_the_function_that_sent_it(suite: Suite) -> None:
    assert suite.said("following/b/called", 1) == ["hello (from following/a/caller)"]


def test_a_function_sends_to_itself(suite: Suite) -> None:
    first, *others = suite.said("looping/self/one", 4)
    assert first.startswith("3 from statefun.testing/sender/")
    assert others == [f"{left} from looping/self/one" for left in (2, 1, 0)]


def test_messages_of_one_sender_arrive_in_the_order_of_sending(suite: Suite) -> None:
    assert suite.said("ordering/receiver/one", 100) == [str(number) for number in range(100)]


@pytest.mark.parametrize("id", IDS)
def test_any_text_is_an_id(suite: Suite, id: str) -> None:
    assert suite.said(f"typed/mixed/{id}", 1) == ["str id"]


def test_functions_of_one_typename_are_distinguished_by_the_type(suite: Suite) -> None:
    assert suite.said("typed/mixed/one", 4) == [
        "int 1",
        "str one",
        "step one",
        r"any/type b'\x00'",
    ]


def test_the_exact_name_goes_before_the_namespace(suite: Suite) -> None:
    (call,) = suite.calls("scripted/exact/one", 1)
    assert call.path == "/own"


def test_the_name_is_put_into_the_url_and_the_query_stays(suite: Suite) -> None:
    (call,) = suite.calls("scripted/plain/one", 1)
    assert call.path == "/any/plain?query=kept"


def test_a_message_for_an_idle_address_is_sent_alone(suite: Suite) -> None:
    (call,) = suite.calls("scripted/plain/one", 1)
    assert len(call.request.invocations) == 1


def test_messages_that_arrive_during_a_request_are_the_next_batch(suite: Suite) -> None:
    first, then = suite.calls("scripted/batched/one", 2)
    assert first.values == [b"1"]
    assert then.values == [b"2", b"3"]


def test_an_address_has_one_request_at_a_time(aftermath: Suite) -> None:
    # The interrupted request was still held when it was sent again.
    assert aftermath.worker.most_of_one <= (2 if aftermath.threads else 1)


def test_two_ids_are_called_at_a_time(suite: Suite) -> None:
    if not suite.threads:
        pytest.skip("with a virtual clock everything happens in one thread, on purpose")
    assert len(suite.calls("scripted/meeting/a", 1)) == 1
    assert len(suite.calls("scripted/meeting/b", 1)) == 1
    suite.engine.eventually(lambda: suite.worker.met.n_waiting == 0)
    assert not suite.worker.met.broken
    assert suite.worker.most >= 2


def test_the_argument_is_passed_on_to_the_byte(suite: Suite) -> None:
    (call,) = suite.calls("scripted/plain/one", 1)
    (invocation,) = call.request.invocations
    assert invocation.argument.value == b"\x00value\xff"
    assert invocation.argument.typename == scripted.TYPE
    assert invocation.argument.has_value


def test_a_record_is_passed_on_to_the_byte_and_without_a_caller(suite: Suite) -> None:
    (call,) = suite.calls("scripted/plain/ingress", 1)
    (invocation,) = call.request.invocations
    assert not invocation.HasField("caller")
    assert invocation.argument.value == b"\x00raw\xff"
    assert invocation.argument.typename == "suite/raw"
    assert invocation.argument.has_value


def test_a_message_without_a_type_is_passed_on_without_one(suite: Suite) -> None:
    (call,) = suite.calls("scripted/verbatim/untyped", 1)
    (invocation,) = call.request.invocations
    assert invocation.caller.type == "untyped"
    assert invocation.argument.typename == ""
    assert invocation.argument.value == b"value"
