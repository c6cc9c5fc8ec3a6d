"""Serves ``bytes -> bytes`` on the servers of the HTTP benchmark, without our package.

Each server runs with one process, and with the same number of threads as ours.
"""

import sys

OCTET_STREAM = "application/octet-stream"


def wsgi(handle):
    def application(environ, start_response):
        body = handle(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
        headers = [("Content-Type", OCTET_STREAM), ("Content-Length", str(len(body)))]
        start_response("200 OK", headers)
        return [body]

    return application


def flask(handle):
    from flask import Flask
    from flask import request
    from flask import Response

    app = Flask("contestant")

    @app.post("/statefun")
    def answer():
        return Response(handle(request.get_data()), content_type=OCTET_STREAM)

    return app


def asgi(handle):
    """Handle is a coroutine function here."""

    async def application(scope, receive, send):
        if scope["type"] != "http":
            return
        body = b""
        more = True
        while more:
            event = await receive()
            body += event.get("body", b"")
            more = event.get("more_body", False)
        answer = await handle(body)
        headers = [
            (b"content-type", OCTET_STREAM.encode()),
            (b"content-length", str(len(answer)).encode()),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    return application


def on_waitress(application, port):
    import logging

    import waitress

    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    waitress.serve(
        application,
        listen=f"127.0.0.1:{port}",
        threads=4,
        connection_limit=1000,
        asyncore_use_poll=True,
        _quiet=True,
    )


def on_granian(application, port, interface="wsgi", threads=1):
    from granian import Granian
    from granian.constants import HTTPModes
    from granian.constants import Interfaces

    Granian(
        "contestant",
        port=port,
        interface=Interfaces(interface),
        blocking_threads=threads,
        http=HTTPModes.http1,
        websockets=False,
        log_level="error",
    ).serve(target_loader=lambda _: application)


def on_uvicorn(application, port):
    import uvicorn

    uvicorn.run(application, port=port, log_level="warning", access_log=False, lifespan="off")


def on_aiohttp(handle, port):
    """Handle is a coroutine function here."""
    from aiohttp import web

    async def answer(request):
        return web.Response(body=await handle(await request.read()), content_type=OCTET_STREAM)

    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.router.add_post("/statefun", answer)
    web.run_app(app, host="127.0.0.1", port=port, print=None, access_log=None)


def main(handle, handle_async):
    """Serve with the server of the command line: ``PROGRAM SERVER PORT``."""
    server, port = sys.argv[1], int(sys.argv[2])
    if server == "waitress":
        on_waitress(wsgi(handle), port)
    elif server == "flask-waitress":
        on_waitress(flask(handle), port)
    elif server == "granian":
        on_granian(wsgi(handle), port)
    elif server == "granian-threads":
        on_granian(wsgi(handle), port, threads=256)
    elif server == "granian-asgi":
        on_granian(asgi(handle_async), port, interface="asginl")
    elif server == "uvicorn":
        on_uvicorn(asgi(handle_async), port)
    else:
        on_aiohttp(handle_async, port)
