"""An endpoint of functions whose replies are scripted, which keeps its requests."""

from __future__ import annotations

import collections
import collections.abc as cabc
import dataclasses
import gzip
import threading
import typing as t

import flask

from statefun_flask.protocol.schema.request_reply_v3 import FromFunction
from statefun_flask.protocol.schema.request_reply_v3 import ToFunction

OCTETS = "application/octet-stream"
TYPE = "suite/value"


class Answer:
    """A FromFunction that is filled in."""

    def __init__(self) -> None:
        self.message = FromFunction()
        self.result = self.message.invocation_result
        self.result.SetInParent()

    def send(self, to: str, value: bytes, typename: str = TYPE) -> Answer:
        message = self.result.outgoing_messages.add()
        message.target.namespace, message.target.type, message.target.id = to.split("/", 2)
        message.argument.typename, message.argument.value = typename, value
        message.argument.has_value = True
        return self

    def put(self, name: str, value: bytes, has_value: bool = True, typename: str = TYPE) -> Answer:
        mutation = self.result.state_mutations.add(state_name=name, mutation_type=1)
        mutation.state_value.typename, mutation.state_value.value = typename, value
        mutation.state_value.has_value = has_value
        return self

    def delete(self, name: str) -> Answer:
        self.result.state_mutations.add(state_name=name)
        return self

    def missing(self, *specs: tuple[t.Any, ...]) -> Answer:
        """Reply with missing states: (name, typename, mode, milliseconds)."""
        context = self.message.incomplete_invocation_context
        context.SetInParent()
        for name, typename, *rest in specs:
            spec = context.missing_values.add(state_name=name, type_typename=typename)
            if rest:
                spec.expiration_spec.mode, spec.expiration_spec.expire_after_millis = rest
        return self

    def __bytes__(self) -> bytes:
        return self.message.SerializeToString()


@dataclasses.dataclass(frozen=True)
class Call:
    """A request.

    :param number: The number of requests for the same address, including this one.
    """

    number: int
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def request(self) -> t.Any:
        return ToFunction.FromString(self.body).invocation

    @property
    def address(self) -> str:
        target = self.request.target
        return f"{target.namespace}/{target.type}/{target.id}"

    @property
    def values(self) -> list[bytes]:
        return [each.argument.value for each in self.request.invocations]

    @property
    def states(self) -> dict[str, bytes | None]:
        """The states that are attached, None for those that are unset."""
        return {
            each.state_name: each.state_value.value if each.HasField("state_value") else None
            for each in self.request.state
        }

    def lacks(self, *names: str) -> bool:
        return not self.states.keys() >= set(names)


Script = cabc.Callable[["Worker", Call], "Answer | flask.Response"]
SCRIPTS: dict[str, Script] = {}


def script(name: str) -> cabc.Callable[[Script], Script]:
    """Register the script for the calls of ``scripted/NAME``."""

    def register(function: Script) -> Script:
        SCRIPTS[name] = function
        return function

    return register


class Worker:
    """A WSGI app that replies as the scripts say.

    :param threads: Whether several calls may arrive at a time.
    """

    def __init__(self, threads: bool) -> None:
        self.threads = threads
        self.calls: dict[str, list[Call]] = collections.defaultdict(list)
        #: The largest number of concurrent calls of one address, and of all addresses.
        self.most_of_one = self.most = 0
        #: Set when calls that wait for the engine's failure may end.
        self.failed = threading.Event()
        self.met = threading.Barrier(2)
        self._flying: collections.Counter[str] = collections.Counter()
        self._lock = threading.Lock()
        self._app = flask.Flask(__name__)
        self._app.add_url_rule("/<path:path>", view_func=self._answer, methods=["POST"])

    def __call__(self, environ: t.Any, start_response: t.Any) -> t.Any:
        return self._app(environ, start_response)

    def last(self, address: str) -> bytes | None:
        """Return the last value that an address received."""
        calls = self.calls[address]
        return calls[-1].values[-1] if calls else None

    def _answer(self, path: str) -> flask.Response:
        request = flask.request
        headers = {name.lower(): value for name, value in request.headers}
        call = Call(0, request.full_path.removesuffix("?"), headers, request.get_data())
        address = call.address
        with self._lock:
            call = dataclasses.replace(call, number=len(self.calls[address]) + 1)
            self.calls[address].append(call)
            self._flying[address] += 1
            self.most_of_one = max(self.most_of_one, self._flying[address])
            self.most = max(self.most, self._flying.total())
        try:
            answer = SCRIPTS[call.request.target.type](self, call)
        finally:
            with self._lock:
                self._flying[address] -= 1
        return answer if isinstance(answer, flask.Response) else reply(bytes(answer))


def reply(body: bytes = b"", status: int = 200, content_type: str = OCTETS) -> flask.Response:
    response = flask.Response(body, status)
    response.headers["Content-Type"] = content_type
    return response


def _after(times: int, failing: cabc.Callable[[], flask.Response]) -> Script:
    """Return a script that fails so many times before it succeeds."""
    return lambda worker, call: failing() if call.number <= times else Answer()


# -- requests ---------------------------------------------------------------------------------


@script("plain")
@script("exact")
@script("verbatim")
def answer_nothing(worker: Worker, call: Call) -> Answer:
    return Answer()


@script("batches")
def send_three(worker: Worker, call: Call) -> Answer:
    """Send the batched function three messages at a time."""
    answer = Answer()
    for value in (b"1", b"2", b"3") if call.values == [b"go"] else ():
        answer.send("scripted/batched/one", value)
    return answer


@script("batched")
def take_batches(worker: Worker, call: Call) -> Answer:
    return Answer()


@script("untyped")
def send_untyped(worker: Worker, call: Call) -> Answer:
    return Answer().send("scripted/verbatim/untyped", b"value", "")


@script("meeting")
def meet(worker: Worker, call: Call) -> Answer:
    """Wait until two ids are called at a time."""
    if call.values != [b"warm"]:
        worker.met.wait(30)
    return Answer()


# -- answers ----------------------------------------------------------------------------------


@script("empty-body")
def answer_empty_body(worker: Worker, call: Call) -> flask.Response:
    return reply()


@script("created")
def answer_created(worker: Worker, call: Call) -> flask.Response:
    return reply(bytes(Answer()), status=201)


@script("upper-case")
def answer_upper_case(worker: Worker, call: Call) -> flask.Response:
    return reply(bytes(Answer()), content_type="Application/Octet-Stream")


@script("gzip")
def answer_gzip(worker: Worker, call: Call) -> Answer | flask.Response:
    if call.values != [b"pass on"]:
        return Answer()
    answer = Answer().send("scripted/verbatim/gzip", b"unzipped")
    response = reply(gzip.compress(bytes(answer)))
    response.headers["Content-Encoding"] = "gzip"
    return response


@script("unknown-fields")
def answer_unknown_fields(worker: Worker, call: Call) -> flask.Response:
    answer = Answer().send("scripted/verbatim/unknown-fields", b"known")
    return reply(bytes(answer) + b"\xc2\x3e\x03abc")  # field 1000


SCRIPTS["failing"] = _after(1, lambda: reply(b"no", 500, "text/plain"))
SCRIPTS["busy"] = _after(2, lambda: reply(b"later", 503, "text/plain"))
SCRIPTS["other-type"] = _after(1, lambda: reply(bytes(Answer()), content_type="text/plain"))
SCRIPTS["parameter"] = _after(
    1, lambda: reply(bytes(Answer()), content_type=f"{OCTETS}; charset=utf-8")
)
SCRIPTS["garbage"] = _after(1, lambda: reply(b"\xff\xff\xff"))
SCRIPTS["redirecting"] = _after(1, lambda: flask.redirect("/elsewhere", 302))  # type: ignore[arg-type, return-value]


# -- states -----------------------------------------------------------------------------------


@script("registering")
def register(worker: Worker, call: Call) -> Answer:
    """Register two states, and write the second one."""
    if call.lacks("first", "second"):
        return Answer().missing(("first", TYPE), ("second", TYPE))
    return Answer().put("second", call.values[-1])


@script("late")
def register_late(worker: Worker, call: Call) -> Answer:
    """Register one state, and from the third message on another one."""
    wanted = ("old", "new") if b"3" in call.values else ("old",)
    if call.lacks(*wanted):
        return Answer().missing(*((name, TYPE) for name in wanted if name not in call.states))
    return Answer().put("old", call.values[-1])


@script("twice")
def register_twice(worker: Worker, call: Call) -> Answer:
    """Register an attached state again, without its expiration."""
    if call.lacks("value"):
        return Answer().missing(("value", TYPE))
    if call.lacks("more"):
        return Answer().missing(("value", TYPE, 1, 1), ("more", TYPE))
    return Answer().put("value", b"kept")


@script("deleting")
def delete(worker: Worker, call: Call) -> Answer:
    if call.lacks("value"):
        return Answer().missing(("value", TYPE))
    if call.values[-1] == b"delete":
        return Answer().delete("value")
    return Answer().put("value", b"written") if call.values[-1] == b"write" else Answer()


@script("mutating")
def mutate(worker: Worker, call: Call) -> Answer:
    """Change states in ways that SDKs do not."""
    names = ("last", "revived", "gone", "valueless", "empty")
    if call.lacks(*names):
        return Answer().missing(*((name, TYPE) for name in names))
    if call.values[-1] != b"write":
        return Answer()
    answer = Answer().put("last", b"1").put("last", b"2").put("last", b"3")
    answer.put("revived", b"1").delete("revived").put("revived", b"2")
    answer.put("gone", b"1").delete("gone")
    return answer.put("valueless", b"bytes", has_value=False).put("empty", b"", has_value=False)


@script("delete-with-value")
def delete_with_value(worker: Worker, call: Call) -> Answer:
    if call.lacks("value"):
        return Answer().missing(("value", TYPE))
    if call.values[-1] == b"write":
        return Answer().put("value", b"written")
    answer = Answer()
    if call.values[-1] == b"delete":
        answer.put("value", b"ignored")
        answer.result.state_mutations[0].mutation_type = 0
    return answer


ODD_NAMES = ("a-b", "a/b", "a.b", "a b", "☃")


@script("odd-names")
def use_odd_names(worker: Worker, call: Call) -> Answer:
    if call.lacks(*ODD_NAMES):
        return Answer().missing(*((name, TYPE) for name in ODD_NAMES))
    answer = Answer()
    for name in ODD_NAMES:
        answer.put(name, name.encode())
    return answer


@script("typeless")
def use_no_type(worker: Worker, call: Call) -> Answer:
    if call.lacks("value"):
        return Answer().missing(("value", ""))
    typename = "io.statefun.types/unset" if call.values[-1] == b"named" else ""
    return Answer().put("value", call.values[-1], typename=typename)


@script("no-expiration")
def expire_never(worker: Worker, call: Call) -> Answer:
    """Give milliseconds to a state without an expiration."""
    if call.lacks("value"):
        return Answer().missing(("value", TYPE, 0, 1))
    return Answer().put("value", b"kept")


# -- failures ---------------------------------------------------------------------------------


@script("relearning")
def relearn(worker: Worker, call: Call) -> Answer:
    if call.lacks("value"):
        return Answer().missing(("value", TYPE))
    return Answer().put("value", call.values[-1])


@script("replayed")
def replay(worker: Worker, call: Call) -> Answer:
    """Hold the first call of a message until the engine has failed."""
    if call.lacks("value"):
        return Answer().missing(("value", TYPE))
    if call.values == [b"hold"] and not worker.failed.is_set():
        worker.failed.wait(60)
    return Answer().put("value", call.values[-1])
