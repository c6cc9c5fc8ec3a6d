"""Addresses that were called when the last process ended: first, alone, and cleared in any case."""

from __future__ import annotations

import typing as t

import pytest

from statefun_flask import Address
from statefun_flask.embedded.addresses.addresses import Addresses
from statefun_flask.embedded.records import Envelope
from statefun_flask.embedded.suspects import label_of
from statefun_flask.embedded.suspects import Suspect
from statefun_flask.embedded.suspects import Suspects
from statefun_flask.values.message import Message

HOT = Address("ns/fn", "hot")
OTHER = Address("ns/fn", "other")


@pytest.fixture
def addresses() -> Addresses:
    """Return addresses with a suspect, of whose batch of five messages three were not stored."""
    suspects = Suspects()
    suspects.put(label_of(HOT), Suspect(0, 5, 0))
    made = Addresses(suspects=suspects)
    numbers = [(1, OTHER), (2, HOT), (3, OTHER), (4, HOT)]
    made.put(Envelope(n, n, target, None, Message("a/t", b"")) for n, target in numbers)
    return made


def call(addresses: Addresses) -> t.Any:
    """Call the next address, and return its mailbox."""
    mailbox = addresses.take()
    assert mailbox is not None
    addresses.begin(mailbox, 0)
    return mailbox


def test_a_suspect_is_called_first_until_it_is_tried(addresses: Addresses) -> None:
    order = []
    while addresses.ready:
        mailbox = call(addresses)
        order.append(mailbox.address)
        addresses.applied(mailbox)
    assert order == [HOT, HOT, OTHER, OTHER]


def test_a_suspect_whose_messages_were_not_all_stored_is_cleared(addresses: Addresses) -> None:
    assert addresses.suspected == 1
    for _ in range(2):
        addresses.applied(call(addresses))
    assert addresses.suspected == 0


def test_a_suspect_that_waits_for_its_endpoint_holds_up_no_other(addresses: Addresses) -> None:
    addresses.pause(call(addresses))
    assert addresses.suspected == 0


def test_a_suspect_of_a_paused_type_holds_up_no_other(addresses: Addresses) -> None:
    addresses.hold("ns/fn")
    assert addresses.take() is None
    assert addresses.suspected == 0
    addresses.release("ns/fn")
    assert addresses.suspected == 1
    assert call(addresses).address == HOT
