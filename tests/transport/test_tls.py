"""Certificates on both sides, for the runtime's ``trust_cacerts`` and ``client_cert``."""

from __future__ import annotations

import contextlib
import http.client
import pathlib
import shutil
import ssl
import subprocess
import typing as t

import pytest

from statefun_flask import GranianTransport
from statefun_flask import module_yaml
from statefun_flask.embedded.endpoints.module_routes import ModuleRoutes
from statefun_flask.embedded.errors import EndpointDownError

if shutil.which("openssl") is None:
    pytest.skip("openssl makes the certificates", allow_module_level=True)


def _openssl(folder: pathlib.Path, *words: str) -> None:
    subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Return a folder with an authority (ca), and certificates of it for a server and a client."""
    folder = tmp_path_factory.mktemp("certificates")
    new = ("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    for name in ("ca", "other"):
        files = ("-keyout", f"{name}.key", "-out", f"{name}.pem")
        # Python 3.13 verifies that an authority may sign.
        may_sign = ("-addext", "keyUsage=critical,keyCertSign,cRLSign")
        _openssl(folder, *new, "-x509", "-days", "1", "-subj", f"/CN={name}", *may_sign, *files)
    for name in ("server", "client"):
        files = ("-keyout", f"{name}.key", "-out", f"{name}.csr")
        _openssl(folder, *new, "-subj", f"/CN={name}", *files)
        folder.joinpath("extensions").write_text(
            "subjectAltName=IP:127.0.0.1\nauthorityKeyIdentifier=keyid\n"
        )
        signed = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "1")
        files = ("-in", f"{name}.csr", "-out", f"{name}.pem", "-extfile", "extensions")
        _openssl(folder, "x509", "-req", *signed, *files)
    return folder


def _post(url: str, context: ssl.SSLContext, body: bytes) -> bytes:
    host = url.partition("://")[2].partition("/")[0]
    connection = http.client.HTTPSConnection(host, timeout=10, context=context)
    with contextlib.closing(connection):
        headers = {"Content-Type": "application/octet-stream"}
        connection.request("POST", "/statefun", body, headers)
        return connection.getresponse().read()


@pytest.fixture
def guarded(serve: t.Any, certificates: pathlib.Path) -> t.Any:
    """A server that accepts only clients with a certificate of the authority."""
    names = {"--cert": "server.pem", "--key": "server.key", "--client-ca": "ca.pem"}
    options = [word for key, name in names.items() for word in (key, str(certificates / name))]
    return serve("--server", "granian", "--direct", *options)


def test_only_clients_with_a_certificate_of_the_authority_are_accepted(
    guarded: t.Any, certificates: pathlib.Path, encode: t.Any, decode: t.Any
) -> None:
    body = encode("test/echo", "hello")
    assert guarded.url.startswith("https://")

    context = ssl.create_default_context(cafile=certificates / "ca.pem")
    with pytest.raises((ssl.SSLError, ConnectionError, http.client.RemoteDisconnected)):
        _post(guarded.url, context, body)
    context.load_cert_chain(certificates / "client.pem", certificates / "client.key")
    assert decode(_post(guarded.url, context, body)) == ["hello"]


MODULE = """\
kind: io.statefun.endpoints.v2/http
spec:
  functions: test/*
  urlPathTemplate: {url}
  transport:
    type: io.statefun.transports.v1/async
"""


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"trust_cacerts": "ca.pem", "client_cert": "client.pem", "client_key": "client.key"}, ""),
        (
            {"trust_cacerts": "other.pem", "client_cert": "client.pem", "client_key": "client.key"},
            "certificate verify failed",
        ),
        ({"trust_cacerts": "ca.pem"}, "alert certificate required|connection lost"),
    ],
    ids=["both", "not the server's", "none of the client's"],
)
def test_the_embedded_engine_calls_it_as_module_yaml_says(
    fields: dict[str, str],
    reason: str,
    guarded: t.Any,
    certificates: pathlib.Path,
    encode: t.Any,
    decode: t.Any,
    tmp_path: pathlib.Path,
) -> None:
    file = tmp_path / "module.yaml"
    lines = (f"    {field}: {certificates / name}\n" for field, name in fields.items())
    file.write_text(MODULE.format(url=guarded.url) + "".join(lines))
    with contextlib.closing(ModuleRoutes(module_yaml.load(str(file)), None, [])) as routes:
        endpoint = routes.endpoint("test/echo")
        if reason:
            with pytest.raises(EndpointDownError, match=reason):
                endpoint(encode("test/echo", "hello"))
            return
        for text in ("hello", "again"):
            assert decode(endpoint(encode("test/echo", text))) == [text]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"certificate": "x"}, "TLS needs a certificate and its key. Give both of them, or none."),
        ({"key": "x"}, "TLS needs a certificate and its key. Give both of them, or none."),
        (
            {"client_ca": "x"},
            "client_ca was given without TLS. Give a certificate and its key too.",
        ),
    ],
)
def test_half_of_tls_is_refused(options: dict[str, t.Any], message: str) -> None:
    with pytest.raises(ValueError, match="Give") as info:
        GranianTransport(**options)
    assert str(info.value) == message
