from __future__ import annotations

import hypothesis
import pytest
from hypothesis import strategies as st

from statefun_flask import Address
from statefun_flask.embedded.addresses.ready import Ready
from statefun_flask.embedded.addresses.ready import TURNS


def address(id: object) -> Address:
    return Address("test/fn", str(id))


def take_all(ready: Ready) -> list[str]:
    return [ready.take().id for _ in range(len(ready))]


def test_each_kind_is_first_in_first_out_and_what_goes_on_comes_first() -> None:
    ready = Ready()
    for id in "abc":
        ready.add(address(id), begins=True)
    for id in "xyz":
        ready.add(address(id))
    ready.put_back(address("w"))
    assert len(ready) == 7
    assert [each.id for each in ready] == [*"wxyz", *"abc"]
    assert take_all(ready) == [*"wxyz", *"abc"]


def test_what_begins_has_its_turn_however_much_goes_on() -> None:
    ready = Ready()
    ready.add(address("new"), begins=True)
    taken = []
    while "new" not in taken:
        ready.add(address("loop"))
        taken.append(ready.take().id)
    assert taken == ["loop"] * TURNS + ["new"]


def test_nothing_is_taken_of_nothing() -> None:
    with pytest.raises(IndexError):
        Ready().take()


@hypothesis.given(st.lists(st.sampled_from(["begin", "go on", "take"])))
def test_every_address_comes_out_once_and_none_waits_for_ever(acts: list[str]) -> None:
    ready, waiting, came = Ready(), {"begin": 0, "go on": 0}, []
    beginning: list[str] = []
    for number, act in enumerate(acts):
        if act != "take":
            ready.add(address(f"{act} {number}"), begins=act == "begin")
            waiting[act] += 1
            if act == "begin":
                beginning.append(f"begin {number}")
        elif ready:
            came.append(ready.take().id)
    came += take_all(ready)
    assert len(set(came)) == len(came) == sum(waiting.values())
    assert [each for each in came if each.startswith("begin")] == beginning
