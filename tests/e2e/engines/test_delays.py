"""Delayed messages and their cancellation; stimuli.py has the messages."""

from __future__ import annotations

import typing as t

import pytest

Suite: t.TypeAlias = t.Any


def itself(address: str, *texts: str) -> list[str]:
    """Return the observations of a function about its own messages."""
    return [f"{text} (from {address})" for text in texts]


@pytest.mark.parametrize(
    ("address", "texts"),
    [
        pytest.param("due", ["first", "second", "third"], id="come when they are due"),
        pytest.param("zero", ["sent 1", "sent 2", "delayed"], id="of nothing come last"),
        pytest.param("send-cancel", ["end"], id="sent then cancelled"),
        pytest.param("cancel-send", ["sent"], id="cancelled then sent"),
        pytest.param("cancel-later", ["again", "end"], id="cancelled later, token used again"),
        pytest.param("delivered", ["delivered", "again"], id="token of one that was delivered"),
        pytest.param("same-id", ["end"], id="cancelled by another function of the same id"),
        pytest.param("this-id", ["kept"], id="not cancelled by another id"),
        pytest.param("mine", ["mine"], id="one token, two ids: mine"),
        pytest.param("yours", ["yours"], id="one token, two ids: yours"),
    ],
)
def test_delayed_messages(suite: Suite, address: str, texts: list[str]) -> None:
    address = f"following/a/{address}"
    assert suite.said(address, len(texts)) == itself(address, *texts)


def test_the_target_cannot_cancel_what_is_sent_to_it(suite: Suite) -> None:
    said = suite.said("following/b/target", 2)
    assert said == itself("following/a/source", "has not cancelled", "kept")


def test_the_cancelling_function_is_called_as_well(suite: Suite) -> None:
    assert suite.said("following/b/same-id", 1) == itself("following/a/same-id", "has cancelled")
    assert suite.said("following/a/that-id", 1) == itself(
        "following/a/this-id", "has not cancelled"
    )


def test_cancelling_an_unknown_token_has_no_effect(suite: Suite) -> None:
    (said,) = suite.said("following/a/unknown", 1)
    assert said.startswith("fine")


def test_a_delayed_message_has_its_sender_for_a_caller(suite: Suite) -> None:
    assert suite.said("following/b/delayed", 1) == itself("following/a/delayer", "late")


def test_a_delayed_message_does_not_arrive_early(suite: Suite) -> None:
    (waited,) = suite.said("waiting/measured/one", 1)
    if not suite.threads:
        pytest.skip("a virtual clock does not move the machine's, which the function reads")
    assert float(waited) >= 0.5
