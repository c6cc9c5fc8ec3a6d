from __future__ import annotations

import pathlib
import socket

import pytest

from statefun_flask.transport.listen import ListenAddress


@pytest.mark.parametrize(
    ("text", "listen", "url"),
    [
        ("127.0.0.1:5000", ListenAddress("127.0.0.1", 5000), "http://127.0.0.1:5000/statefun"),
        ("0.0.0.0:0", ListenAddress("0.0.0.0", 0), "http://0.0.0.0:0/statefun"),
        ("[::1]:80", ListenAddress("::1", 80), "http://[::1]:80/statefun"),
        ("unix:/run/f", ListenAddress(path=pathlib.Path("/run/f")), "http+unix:///run/f/statefun"),
    ],
)
def test_an_address_is_read_and_becomes_the_url_of_module_yaml(
    text: str, listen: ListenAddress, url: str
) -> None:
    assert ListenAddress.parse(text) == listen
    assert listen.url("/statefun") == url


@pytest.mark.parametrize("text", ["", "5000", ":5000", "host", "h:x", "h:65536", "::1:80", "unix:"])
def test_another_form_of_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not an address") as info:
        ListenAddress.parse(text)
    assert str(info.value) == (
        f"{text!r} is not an address to listen on."
        " Write 'host:port', '[::1]:port' or 'unix:/path/of/socket'."
    )


def test_a_reserved_port_can_be_bound_by_workers_only() -> None:
    with ListenAddress.parse("127.0.0.1:0").reserved() as listen:
        with socket.socket() as worker:
            worker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            worker.bind((listen.host, listen.port))
        with pytest.raises(OSError, match="in use"), socket.socket() as other:
            other.bind((listen.host, listen.port))


def test_a_taken_port_is_not_shared() -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        listen = ListenAddress("127.0.0.1", other.getsockname()[1])
        with pytest.raises(OSError, match="in use"), listen.reserved():
            pass
