"""Requests and answers of 3.x for all tests of the core, and the watch for what a test leaves."""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import functools
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import typing as t
import venv

import flask
import hypothesis
import pytest

from statefun_flask import Address
from statefun_flask import FunctionRegistry
from statefun_flask import Message
from statefun_flask import RequestHandler
from statefun_flask import ValueSpec
from statefun_flask.protocol.schema.request_reply_v3 import FromFunction
from statefun_flask.protocol.schema.request_reply_v3 import ToFunction
from statefun_flask.values.message import encode
from statefun_flask.values.state import unwrap

# A machine that does other things at the same time misses any deadline. Deeper:
# ``pytest --hypothesis-profile=deep``.
hypothesis.settings.register_profile("fast", max_examples=30, deadline=None)
hypothesis.settings.register_profile("deep", max_examples=2000, deadline=None)
hypothesis.settings.load_profile("fast")


@pytest.fixture(autouse=True)
def _nothing_left_behind() -> cabc.Iterator[None]:
    """Fail a test that leaves an application context pushed or a thread that holds the process."""
    before = set(threading.enumerate())
    yield
    left = [each for each in threading.enumerate() if each not in before and not each.daemon]
    for thread in left:
        thread.join(timeout=2)
    assert not [each for each in left if each.is_alive()], "threads left running"
    assert not flask.has_app_context(), "an application context was left pushed"


def _fill(value: t.Any, content: t.Any) -> None:
    """Write a TypedValue: of a Python value, or of (typename, payload)."""
    pair = content if content.__class__ is tuple else encode(content)
    value.typename, value.value = pair
    value.has_value = True


def _request(
    *messages: t.Any,
    target: str = "example/fn",
    id: str = "bob",
    caller: str | None = None,
    states: cabc.Mapping[str, t.Any] | None = None,
) -> t.Any:
    request = ToFunction()
    batch = request.invocation
    batch.target.namespace, batch.target.type = target.split("/")
    batch.target.id = id
    for name, content in (states or {}).items():
        state = batch.state.add(state_name=name)
        if content is not None:
            _fill(state.state_value, content)
    for message in messages:
        invocation = batch.invocations.add()
        if caller is not None:
            sender = invocation.caller
            sender.namespace, sender.type, sender.id = caller.split("/")
        _fill(invocation.argument, message)
    return request


@pytest.fixture(scope="session")
def to_function() -> cabc.Callable[..., t.Any]:
    """Return a function that makes a ToFunction.

    ``to_function(*messages, target="example/fn", id="bob", caller=None, states={})``: messages and
    states are Python values or (typename, payload); a state that is None is there without a value.
    """
    return _request


@pytest.fixture(scope="session")
def request_bytes() -> cabc.Callable[..., bytes]:
    """Return a function like ``to_function`` that gives bytes."""

    def make(*messages: t.Any, **options: t.Any) -> bytes:
        data: bytes = _request(*messages, **options).SerializeToString()
        return data

    return make


def _answer(function: t.Any, *messages: t.Any, specs: t.Any = (), **options: t.Any) -> t.Any:
    registry = FunctionRegistry()
    registry.register_fn("example/fn", function, states=specs)
    if "states" not in options:
        options["states"] = dict.fromkeys(getattr(spec, "name", spec) for spec in specs)
    body = _request(*messages, **options).SerializeToString()
    return FromFunction.FromString(RequestHandler(registry)(body))


@pytest.fixture(scope="session")
def from_function() -> cabc.Callable[..., t.Any]:
    """Return a function that has ``example/fn`` called, and gives the FromFunction.

    ``from_function(function, *messages, specs=(), **options)``: the options are those of
    ``to_function``; without states each declared one is there without a value.
    """
    return _answer


@pytest.fixture(scope="session")
def result() -> cabc.Callable[..., t.Any]:
    """Return a function like ``from_function`` that gives the InvocationResponse."""

    @functools.wraps(_answer)
    def answer(*arguments: t.Any, **options: t.Any) -> t.Any:
        response = _answer(*arguments, **options)
        assert response.WhichOneof("response") == "invocation_result"
        return response.invocation_result

    return answer


# -- a batch for one function, its senders and states by handle ------------------------------------


class From(t.NamedTuple):
    """A message with a sender; a value alone comes from an ingress."""

    caller: Address
    value: t.Any


class Answered:
    """A FromFunction with its values decoded."""

    def __init__(self, body: bytes) -> None:
        self.message = FromFunction.FromString(body)
        self.result = self.message.invocation_result

    @property
    def sends(self) -> list[tuple[str, t.Any]]:
        return [(_text(each.target), _value(each)) for each in self.result.outgoing_messages]

    @property
    def texts(self) -> list[t.Any]:
        """The values sent, without their targets."""
        return [value for _, value in self.sends]

    @property
    def delayed(self) -> list[t.Any]:
        """Cancellations as their token, others as (target, ms, value, token)."""
        return [
            each.cancellation_token
            if each.is_cancellation_request
            else (_text(each.target), each.delay_in_ms, _value(each), each.cancellation_token)
            for each in self.result.delayed_invocations
        ]

    @property
    def egresses(self) -> list[tuple[str, t.Any]]:
        return [
            (f"{each.egress_namespace}/{each.egress_type}", _value(each))
            for each in self.result.outgoing_egresses
        ]

    @property
    def changes(self) -> list[tuple[str, t.Any]]:
        """Mutations in their order; None for a deletion."""
        return [
            (each.state_name, _read(each.state_value) if each.mutation_type else None)
            for each in self.result.state_mutations
        ]

    @property
    def missing(self) -> list[tuple[str, str, int, int]]:
        """The specs of an incomplete context: (name, typename, mode, ms)."""
        assert self.message.WhichOneof("response") == "incomplete_invocation_context"
        return [
            (
                each.state_name,
                each.type_typename,
                each.expiration_spec.mode,
                each.expiration_spec.expire_after_millis,
            )
            for each in self.message.incomplete_invocation_context.missing_values
        ]


def _text(address: t.Any) -> str:
    return f"{address.namespace}/{address.type}/{address.id}"


def _value(record: t.Any) -> t.Any:
    return _read(record.argument)


def _read(typed: t.Any) -> t.Any:
    assert typed.has_value
    return unwrap(Message(typed.typename, typed.value))


def request_body(
    typename: str,
    *messages: t.Any,
    id: str = "me",
    states: cabc.Mapping[t.Any, t.Any] | None = None,
) -> bytes:
    """Return a serialised ToFunction.

    :param messages: Values, or :class:`From` for a message with a sender.
    :param states: Values by ValueSpec; None is a state that the runtime knows and has no value.
        A cell as a tuple is written as it is.
    """
    request = ToFunction()
    batch = request.invocation
    batch.target.namespace, batch.target.type = typename.split("/")
    batch.target.id = id
    for spec, value in (states or {}).items():
        state = batch.state.add(state_name=getattr(spec, "name", spec))
        if value is not None:
            cell = value if isinstance(value, tuple) else spec.encode(value)
            state.state_value.typename, state.state_value.value = cell
            state.state_value.has_value = True
    for each in messages:
        invocation = batch.invocations.add()
        if isinstance(each, From):
            caller = invocation.caller
            caller.namespace, caller.type = each.caller.type.namespace, each.caller.type.name
            caller.id = each.caller.id
            each = each.value
        if isinstance(each, Message) and not each.has_value:
            invocation.argument.typename = each.typename
            continue
        invocation.argument.typename, invocation.argument.value = encode(each)
        invocation.argument.has_value = True
    return request.SerializeToString()


def invoke(
    function: cabc.Callable[..., t.Any],
    *messages: t.Any,
    states: cabc.Mapping[ValueSpec[t.Any], t.Any] | None = None,
    **options: t.Any,
) -> Answered:
    """Register a function alone as test/fn and have it handle one batch."""
    registry = FunctionRegistry()
    registry.register_fn("test/fn", function, states=list(states or {}))
    body = request_body("test/fn", *messages, states=states)
    return Answered(RequestHandler(registry, **options)(body))


@pytest.fixture(scope="session", name="request_body")
def _request_body() -> cabc.Callable[..., bytes]:
    """Return a function that makes a request: ``request_body("ns/name", *messages, states=…)``."""
    return request_body


@pytest.fixture(scope="session")
def answered() -> type[Answered]:
    """Return what reads an answer: ``answered(body).sends`` and so on."""
    return Answered


@pytest.fixture(scope="session")
def sent_by() -> type[From]:
    """Return what gives a message a sender: ``sent_by(Address(…), value)``."""
    return From


@pytest.fixture(scope="session", name="invoke")
def _invoke() -> cabc.Callable[..., Answered]:
    """Return a function that has a function handle a batch: ``invoke(fn, *messages, states=…)``."""
    return invoke


# -- other SDKs, in environments of their own ------------------------------------------------------


def _environment(name: str, requirements: cabc.Sequence[str]) -> pathlib.Path:
    """Return the interpreter that has some packages, which are installed once, in the cache folder.

    Its folder appears in the cache as a whole, so that two runs at once do no harm.
    """
    user = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    folder = user / "statefun-flask" / f"{name}-python-{version}"
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".oracle-") as work:
            made = pathlib.Path(work, "venv")
            venv.create(made, with_pip=True)
            pip = [made / "bin" / "python", "-m", "pip", "install", "-q", *requirements]
            subprocess.run(pip, check=True)
            try:
                made.rename(folder)
            except OSError:
                if not folder.exists():
                    raise
    return folder / "bin" / "python"


@pytest.fixture(scope="session")
def interpreter() -> cabc.Callable[..., pathlib.Path]:
    """Return a function that gives a Python with other packages: ``interpreter(name, *packages)``.

    Where its environment cannot be made the tests are skipped, unless the environment says ``CI``.
    """

    def make(name: str, *requirements: str) -> pathlib.Path:
        try:
            return _environment(name, requirements)
        except (OSError, subprocess.CalledProcessError) as exc:
            if os.environ.get("CI"):
                raise
            pytest.skip(f"The official SDK cannot be installed: {exc}")

    return make


@pytest.fixture(scope="session")
def start_official(
    interpreter: cabc.Callable[..., pathlib.Path],
) -> cabc.Iterator[cabc.Callable[..., cabc.Callable[[bytes], bytes]]]:
    """Return a function that starts a program with another SDK, and gives what has it answer.

    ``start_official(program, *requirements)``; the program reads and writes lines of hex.
    """
    with contextlib.ExitStack() as stack:

        def start(program: pathlib.Path, *requirements: str) -> cabc.Callable[[bytes], bytes]:
            name = "oracle-" + requirements[0].rpartition("==")[2]
            python = interpreter(name, *requirements)
            process = stack.enter_context(
                subprocess.Popen(
                    [python, program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
                )
            )
            requests, answers = process.stdin, process.stdout
            assert requests is not None
            assert answers is not None
            stack.callback(requests.close)

            def answer(body: bytes) -> bytes:
                print(body.hex(), file=requests, flush=True)
                line = answers.readline().strip()
                assert not line.startswith("error"), line
                return bytes.fromhex(line)

            return answer

        yield start
