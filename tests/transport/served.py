"""The app that the servers of these tests serve."""

from __future__ import annotations

import asyncio
import builtins
import os
import pathlib
import threading
import time

from statefun_flask import Address
from statefun_flask import Context
from statefun_flask import Effects
from statefun_flask import FunctionRegistry
from statefun_flask import StateFunFlask

app = StateFunFlask(__name__)
registry = FunctionRegistry()
TO = Address("test/sink", "of it")


@app.statefun("test/echo")
def echo(context: Context, text: str) -> Effects:
    return Effects().send(TO, text)


@app.statefun("test/pid")
def pid(context: Context, text: str) -> Effects:
    return Effects().send(TO, str(os.getpid()))


@app.statefun("test/thread")
def thread(context: Context, text: str) -> Effects:
    return Effects().send(TO, threading.current_thread().name)


@app.statefun("test/slow")
def slow(context: Context, text: str) -> Effects:
    """Create the file that the message names, and return when the file is removed."""
    mark = pathlib.Path(text)
    mark.touch()
    while mark.exists():
        time.sleep(0.01)
    return Effects().send(TO, "done")


@app.statefun("test/slow_async")
async def slow_async(context: Context, text: str) -> Effects:
    mark = pathlib.Path(text)
    mark.touch()
    while mark.exists():
        await asyncio.sleep(0.01)
    return Effects().send(TO, "done")


@app.statefun("test/wait")
async def wait(context: Context, text: str) -> Effects:
    await asyncio.sleep(float(text))
    return Effects().send(TO, threading.current_thread().name)


def _raise(name: str) -> Effects:
    error = {"CancelledError": asyncio.CancelledError}.get(name) or getattr(builtins, name)
    raise error


@app.statefun("test/raises")
def raises(context: Context, text: str) -> Effects:
    return _raise(text)


@app.statefun("test/raises_async")
async def raises_async(context: Context, text: str) -> Effects:
    await asyncio.sleep(0)
    return _raise(text)


@app.get("/other")
def other() -> str:
    return "other"


registry.register("test/echo", echo)
