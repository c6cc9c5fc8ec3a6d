from __future__ import annotations

import hypothesis
import pytest
from hypothesis import strategies as st

from statefun_flask import Address
from statefun_flask.embedded.addresses.ready import ReadyQueue
from statefun_flask.embedded.addresses.ready import TURNS


def address(id: object) -> Address:
    return Address("test/fn", str(id))


def take_all(ready: ReadyQueue[Address]) -> list[str]:
    return [ready.take().id for _ in range(len(ready))]


def test_each_queue_is_first_in_first_out_and_internal_entries_come_first() -> None:
    ready = ReadyQueue()
    for id in "abc":
        ready.add(address(id), external=True)
    for id in "xyz":
        ready.add(address(id))
    ready.add_first(address("w"))
    assert len(ready) == 7
    assert [each.id for each in ready] == [*"wxyz", *"abc"]
    assert take_all(ready) == [*"wxyz", *"abc"]


def test_an_external_entry_has_its_turn_among_any_number_of_internal_ones() -> None:
    ready = ReadyQueue()
    ready.add(address("new"), external=True)
    taken = []
    while "new" not in taken:
        ready.add(address("loop"))
        taken.append(ready.take().id)
    assert taken == ["loop"] * TURNS + ["new"]


def test_an_empty_queue_has_nothing_to_take() -> None:
    with pytest.raises(IndexError):
        ReadyQueue().take()


@hypothesis.given(st.lists(st.sampled_from(["external", "internal", "take"])))
def test_every_entry_is_taken_once_and_external_ones_in_order(acts: list[str]) -> None:
    ready, waiting, came = ReadyQueue(), {"external": 0, "internal": 0}, []
    external: list[str] = []
    for number, act in enumerate(acts):
        if act != "take":
            ready.add(address(f"{act} {number}"), external=act == "external")
            waiting[act] += 1
            if act == "external":
                external.append(f"external {number}")
        elif ready:
            came.append(ready.take().id)
    came += take_all(ready)
    assert len(set(came)) == len(came) == sum(waiting.values())
    assert [each for each in came if each.startswith("external")] == external
