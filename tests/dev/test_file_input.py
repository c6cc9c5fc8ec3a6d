from __future__ import annotations

import collections.abc as cabc
import pathlib
import threading
import typing as t

import pytest

from statefun_flask import Address
from statefun_flask import Context
from statefun_flask import Effects
from statefun_flask import StateFunFlask
from statefun_flask.dev import file_input
from statefun_flask.dev.codec import MessageCodec
from statefun_flask.dev.file_input import LineParser
from statefun_flask.dev.file_input import PositionMismatchError
from statefun_flask.embedded import backpressure

Read = cabc.Callable[..., tuple[file_input.FileInput, list[str]]]


def lines(app: StateFunFlask, to: str = "dev/words", **named: str | None) -> LineParser:
    return LineParser(
        MessageCodec(app.statefun.registry), to, named.get("id_field"), named.get("id")
    )


def written(client: t.Any) -> list[tuple[str, str]]:
    return [(each["key"], each["value"]) for each in client.get("/-/egress/lines")]


# -- a line ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "id", "text"),
    [
        (b"bob\thello", "bob", "hello"),
        (b"bob\ta\tb", "bob", "a\tb"),
        (b"hello", "hello", "hello"),
        ("größe\tü".encode(), "größe", "ü"),
        (b"\thello", "", "hello"),
    ],
)
def test_a_line_with_a_tab_has_an_id_and_one_without_is_its_own(
    app: StateFunFlask, line: bytes, id: str, text: str
) -> None:
    address, message = lines(app).message(line)
    assert (address, message.as_type(str)) == (Address("dev/words", id), text)


def test_plain_lines_can_share_an_id(app: StateFunFlask) -> None:
    address, message = lines(app, id="all").message(b"hello")
    assert (address.id, message.as_type(str)) == ("all", "hello")


@pytest.mark.parametrize(("item", "id"), [('"tea"', "tea"), ("7", "7")])
def test_a_field_of_a_json_line_is_the_id(app: StateFunFlask, item: str, id: str) -> None:
    line = f'{{"item": "x", "id": {item}}}'.encode()
    address, _ = lines(app, "dev/words", id_field="id").message(line)
    assert address == Address("dev/words", id)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (b'{"item": "x"}', "it is not a JSON object with a field 'id'"),
        (b"[1]", "it is not a JSON object with a field 'id'"),
        (
            b'{"id": null}',
            "its field 'id' is null, which is not an id; an id is text or a whole number",
        ),
        (
            b'{"id": {"a": 1}}',
            "its field 'id' is {\"a\": 1}, which is not an id; an id is text or a whole number",
        ),
        (
            b'{"id": true}',
            "its field 'id' is true, which is not an id; an id is text or a whole number",
        ),
        (b"nonsense", "it is not valid JSON: Expecting value: line 1 column 1 (char 0)"),
        (b"[" * 100_000, "it is not valid JSON: it is nested too deeply"),
    ],
)
def test_a_json_line_without_a_usable_id_is_refused(
    app: StateFunFlask, line: bytes, told: str
) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the text is compared below
        lines(app, id_field="id").message(line)
    assert str(caught.value) == told


# -- a file ---------------------------------------------------------------------------------


def test_a_file_is_sent_line_by_line(client: t.Any, read: Read, tmp_path: pathlib.Path) -> None:
    file = tmp_path / "lines"
    file.write_bytes(b"a\tone\n\nb\ttwo\r\nc\tthree")
    source, told = read(client.session, file)
    assert (source.sent, source.bad, source.line, told) == (3, 0, 4, [])
    assert sorted(written(client)) == [("one", "one 1"), ("three", "three 1"), ("two", "two 1")]


def test_bad_lines_are_reported_and_counted_and_the_others_are_sent(
    client: t.Any, read: Read, tmp_path: pathlib.Path
) -> None:
    file = tmp_path / "lines"
    file.write_bytes(b"a\tone\n\xff\ttwo\nc\t\xff\nd\tfour\n")
    source, told = read(client.session, file)
    assert (source.sent, source.bad) == (2, 2)
    assert told == [
        (
            f"{file}, line 2 is skipped: 'utf-8' codec can't decode byte 0xff in position 0:"
            " invalid start byte"
        ),
        (
            rf"{file}, line 3 is skipped: b'\xff' is not a 'io.statefun.types/string' for"
            " 'dev/words': 'utf-8' codec can't decode byte 0xff in position 0: invalid start byte."
            " Send UTF-8 text."
        ),
    ]
    assert sorted(written(client)) == [("four", "four 1"), ("one", "one 1")]


def test_a_file_of_bad_lines_alone_ends(client: t.Any, read: Read, tmp_path: pathlib.Path) -> None:
    file = tmp_path / "lines"
    file.write_bytes(b"\xff\n\xfe\n")
    source, told = read(client.session, file)
    assert (source.sent, source.bad, len(told), source.error) == (0, 2, 2, None)


def test_an_empty_file_ends(client: t.Any, read: Read, tmp_path: pathlib.Path) -> None:
    file = tmp_path / "lines"
    file.touch()
    source, told = read(client.session, file)
    assert (source.sent, source.error, told) == (0, None, [])


def test_a_function_that_takes_several_types_ends_the_input_and_says_so(
    client: t.Any, read: Read, tmp_path: pathlib.Path
) -> None:
    file = tmp_path / "lines"
    file.write_text("a\tx\n")
    source, _ = read(client.session, file, "dev/either")
    assert source.finished
    assert "takes several types" in str(source.error)


def test_standard_input_of_bad_lines_alone_ends(
    client: t.Any, read: Read, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "lines"
    file.write_bytes(b"\n\xff\nbob\thello\n\xff\n")
    real = open
    with file.open("rb") as stdin:
        monkeypatch.setattr(
            "builtins.open",
            lambda path, *rest, **named: stdin if path == 0 else real(path, *rest, **named),
        )
        source, told = read(client.session, "-")
    assert (source.sent, source.bad, len(told), source.error) == (1, 2, 2, None)


# -- gone on with ---------------------------------------------------------------------------


def test_the_position_is_kept_with_the_data(
    start: cabc.Callable[..., t.Any], read: Read, tmp_path: pathlib.Path
) -> None:
    file, data = tmp_path / "lines", str(tmp_path / "data")
    file.write_bytes(b"a\tone\n\xff\n")
    first = start(data=data)
    read(first.session, file)
    first.session.close()

    with file.open("ab") as more:
        more.write(b"b\tone\n")
    second = start(data=data)
    source, told = read(second.session, file)
    assert (source.sent, source.line, told) == (1, 3, [])
    assert source.bad == 1, "what was left out before still counts"
    assert written(second) == [("one", "one 1"), ("one", "one 1")]


def test_another_file_of_that_name_is_an_error_that_names_from_start(
    start: cabc.Callable[..., t.Any], read: Read, tmp_path: pathlib.Path
) -> None:
    file, data = tmp_path / "lines", str(tmp_path / "data")
    file.write_bytes(b"a\tone\nb\ttwo\n")
    client = start(data=data)
    read(client.session, file)

    file.write_bytes(b"a\tuno\nb\tdue\nc\ttre\n")
    with pytest.raises(PositionMismatchError) as caught:
        read(client.session, file)
    assert str(caught.value) == (
        f"'{file}' was read up to line 2, but it has changed since."
        " Add --from-start to read it from its first line."
    )
    source, _ = read(client.session, file, from_start=True)
    assert source.sent == 3


def test_a_shorter_file_is_another_one(
    start: cabc.Callable[..., t.Any], read: Read, tmp_path: pathlib.Path
) -> None:
    file = tmp_path / "lines"
    file.write_bytes(b"a\tone\nb\ttwo\n")
    client = start(data=str(tmp_path / "data"))
    read(client.session, file)
    file.write_bytes(b"a\tone\n")
    with pytest.raises(PositionMismatchError):
        read(client.session, file)


# -- no faster than the engine --------------------------------------------------------------


def test_reading_stops_above_a_limit_and_continues_below_another(
    start: cabc.Callable[..., t.Any],
    eventually: cabc.Callable[..., t.Any],
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(backpressure, "MESSAGES", 20)
    monkeypatch.setattr(file_input, "CHUNK", 10)
    held = threading.Event()
    app = StateFunFlask("held")

    @app.statefun("dev/held")
    def hold(context: Context, message: str) -> Effects:
        held.wait(10)
        return Effects()

    file = tmp_path / "lines"
    file.write_text("".join(f"{i}\tx\n" for i in range(100)))
    client = start(app, concurrency=2)
    source = client.session.add_input(
        LineParser(client.session.codec, "dev/held", None, None), str(file), report=print
    )
    try:
        eventually(lambda: source.sent == 30)
        assert client.session.engine.status().queued == 30
        assert not source.finished
    finally:
        held.set()
    eventually(lambda: source.finished)
    assert source.sent == 100


def test_an_input_that_is_stopped_has_not_failed(
    start: cabc.Callable[..., t.Any],
    eventually: cabc.Callable[..., t.Any],
    tmp_path: pathlib.Path,
) -> None:
    file = tmp_path / "lines"
    file.write_text("a\tx\n" * 20_000)
    client = start()
    source = client.session.add_input(
        LineParser(client.session.codec, "dev/words", None, None), str(file), report=print
    )
    eventually(lambda: source.sent)
    client.session.close()
    eventually(lambda: source.finished)
    assert source.error is None
