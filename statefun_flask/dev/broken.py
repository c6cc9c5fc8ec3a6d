"""Answers requests while the app cannot be loaded, so that nobody waits for corrected code."""

from __future__ import annotations

import http
import http.server
import json
import socket
import threading
import traceback
import types
import typing as t

#: How much of a request's body is read before the response, in bytes.
_BODY = 1 << 20


def answer_unavailable(listening: socket.socket, reason: str) -> None:
    """Answer every request at a socket with 503 and a reason, until the process ends."""

    class Handler(http.server.BaseHTTPRequestHandler):
        server_version = "statefun"
        timeout = 10

        def log_message(self, *args: t.Any, **named: t.Any) -> None:
            """Print nothing."""

        def _answer(self) -> None:
            length = self.headers.get("Content-Length", "0")
            if length.isdecimal() and len(length) < 10:
                self.rfile.read(min(int(length), _BODY))
            body = json.dumps({"error": reason}).encode()
            self.send_response(http.HTTPStatus.SERVICE_UNAVAILABLE)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Retry-After", "1")
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_HEAD = do_PUT = do_POST = _answer

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler, bind_and_activate=False)
    server.socket.close()
    server.socket = listening
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, name="statefun-broken", daemon=True).start()


def reason_of(exc: BaseException) -> str:
    """Return where and why an app cannot be loaded, on one line."""
    file, line = _place(exc)
    text = traceback.format_exception_only(exc)[-1].strip()
    return f"The app cannot be loaded: {file}:{line}: {text}. Correct the code to load it again."


def _place(exc: BaseException) -> tuple[str, int]:
    """Return the file and the line of an error."""
    if isinstance(exc, SyntaxError) and exc.filename is not None:
        return exc.filename, exc.lineno or 0
    last: types.TracebackType | None = exc.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    if last is None:
        return "unknown", 0
    return last.tb_frame.f_code.co_filename, last.tb_lineno
