"""The HTTP requests, and the responses that are accepted."""

from __future__ import annotations

import typing as t

import pytest

Suite: t.TypeAlias = t.Any


def test_the_request_says_what_it_is(suite: Suite) -> None:
    (call,) = suite.calls("scripted/plain/one", 1)
    assert call.headers["content-type"] == "application/octet-stream"
    assert call.headers["content-length"] == str(len(call.body))
    assert call.headers["accept"] == "application/octet-stream"
    assert call.headers["user-agent"] == "statefun"
    assert "gzip" in call.headers["accept-encoding"]


@pytest.mark.parametrize(
    "function",
    [
        "empty-body",
        "created",
        pytest.param("upper-case", id="content type in other letters"),
    ],
)
def test_an_answer_of_this_kind_is_a_result(suite: Suite, function: str) -> None:
    calls = suite.calls(f"scripted/{function}/one", 2)
    assert [call.values for call in calls] == [[b"1"], [b"2"]]


def test_a_compressed_answer_is_read(suite: Suite) -> None:
    (call,) = suite.calls("scripted/verbatim/gzip", 1)
    assert call.values == [b"unzipped"]


def test_unknown_fields_of_an_answer_are_ignored(suite: Suite) -> None:
    (call,) = suite.calls("scripted/verbatim/unknown-fields", 1)
    assert call.values == [b"known"]


@pytest.mark.parametrize(
    ("function", "failures"),
    [
        pytest.param("failing", 1, id="500"),
        pytest.param("busy", 2, id="503"),
        pytest.param("other-type", 1, id="another content type"),
        pytest.param("parameter", 1, id="content type with a parameter"),
        pytest.param("garbage", 1, id="no FromFunction"),
        pytest.param("redirecting", 1, id="redirect"),
    ],
)
def test_the_same_request_is_sent_again_after(suite: Suite, function: str, failures: int) -> None:
    suite.engine.eventually(
        lambda: (
            suite.worker.calls[f"scripted/{function}/one"][-1:]
            and suite.worker.calls[f"scripted/{function}/one"][-1].values == [b"2"]
        ),
        f"the second message of '{function}'",
    )
    *firsts, _ = suite.calls(f"scripted/{function}/one", failures + 2)
    assert len(firsts) == failures + 1
    assert {call.body for call in firsts} == {firsts[0].body}
    assert firsts[0].values == [b"1"]
