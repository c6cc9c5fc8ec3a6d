"""The routes of the HTTP API of the embedded engine, without HTTP itself.

The playground has two routes, ``PUT /namespace/name/id`` and ``GET /topic``. All others begin with
``/-/``.
"""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import time
import types
import typing as t

from ..embedded import Control
from ..embedded import Engine
from ..embedded import events
from ..embedded import Status
from ..embedded.backpressure import Backpressure
from ..embedded.errors import UnknownTargetError
from ..values.address import Address
from ..values.address import as_address
from ..values.message import Message
from . import idempotency
from .codec import message_of_bytes
from .codec import MessageCodec
from .codec import RequestError
from .history import History
from .serializer import JsonObject
from .serializer import Serializer

#: The time limit of a request with ``?wait``, in seconds.
WAIT_TIMEOUT = 300.0

#: The largest number of items in a page of a list, and the approximate limit for bytes of records.
PAGE = 1000
PAGE_BYTES = 8 << 20


class ApiResponse(t.NamedTuple):
    """A response to a request.

    :param body: Bytes, or a value that JSON can express.
    """

    status: int
    body: t.Any
    headers: tuple[tuple[str, str], ...] = ()


class Body(t.NamedTuple):
    """The body of a request, which is read when there is room for it.

    :param size: In bytes.
    """

    size: int
    read: cabc.Callable[[], bytes]


class Api:
    """Answers requests to an engine.

    :param topics: The Kafka topics of module.yaml, each with its value type and targets.
    """

    def __init__(
        self,
        engine: Engine,
        codec: MessageCodec,
        history: History,
        topics: cabc.Mapping[str, tuple[str, cabc.Sequence[str]]],
    ) -> None:
        self.serializer = Serializer(codec)
        self._engine = engine
        self._control = Control(engine)
        self._codec = codec
        self._history = history
        self._topics = topics
        self._backpressure = Backpressure(engine)

    # -- messages from outside ------------------------------------------------------------

    def send(
        self,
        path: list[str],
        body: Body,
        content_type: str | None,
        key: str | None,
        *,
        wait: bool = False,
        timeout: float | None = None,
        is_gone: cabc.Callable[[], bool] = lambda: False,
    ) -> ApiResponse:
        """Answer ``PUT /namespace/name/id``.

        :param key: The idempotency key, if there is one.
        :param wait: Answer with all events of the message once its trace has ended.
        :param timeout: How long to wait, in seconds. With one, delays that are due within the time
            are waited for as well.
        :param is_gone: Returns whether the client has closed its connection.
        """
        if len(path) != 3:
            name = "/".join(path)
            raise RequestError(404, f"'/{name}' names no function. Use /namespace/name/id.")
        address = Address(f"{path[0]}/{path[1]}", path[2])
        with self._room(body.size):
            message = self._message(address.type, body.read(), content_type)
            trace, is_new = idempotency.send(self._engine, address, message, key)
        if not is_new:
            return ApiResponse(200, {"trace": trace, "repeated": True})
        if not wait:
            return ApiResponse(200, {"trace": trace})
        self._wait_for(trace, is_gone, timeout)
        happened = self._history.of_trace(trace)
        return ApiResponse(
            200,
            {
                "trace": trace,
                "events": [each for event in happened for each in self.serializer.objects(event)],
                "waiting": self._waiting(trace, address, happened),
            },
        )

    def _waiting(
        self, trace: int, address: Address, happened: cabc.Iterable[events.Event]
    ) -> list[JsonObject]:
        """Return which addresses a message, or what it led to, waits at for a person."""
        invocations = [each for each in happened if isinstance(each, events.Invocation)]
        sent = {message.target for each in invocations for message in each.sends}
        targets = [address, *sorted(sent - {address})]
        held = self._engine.status().held
        waiting: list[JsonObject] = [
            {"address": str(each.address), "behind": each.trace, "error": each.error}
            for each in self._control.parked_behind(trace, targets)
        ]
        for each in targets if held else ():
            if each.type in held and any(x.trace == trace for x in self._control.queue(each, PAGE)):
                waiting.append({"address": str(each), "held": str(each.type)})
        return waiting

    def _message(self, function: str, body: bytes, content_type: str | None) -> Message:
        """Return a message. The body is not converted if another endpoint serves the function."""
        try:
            return self._codec.message(function, body, content_type)
        except RequestError as exc:
            if exc.status != 404:
                raise
            unknown = exc
        try:
            self._check_served(function)
        except UnknownTargetError:
            raise unknown from None
        return message_of_bytes(function, body, content_type)

    @contextlib.contextmanager
    def _room(self, size: int) -> cabc.Iterator[None]:
        """Refuse a message while too many messages wait. Files and Kafka wait as well."""
        with self._backpressure.room(size) as has_room:
            if not has_room:
                raise RequestError(
                    503,
                    f"{self._engine.queued} messages of {self._engine.queued_bytes} bytes wait in"
                    " the engine. Send the message again later.",
                    headers=(("Retry-After", "1"),),
                )
            yield

    def _wait_for(
        self, trace: int, is_gone: cabc.Callable[[], bool], timeout: float | None
    ) -> None:
        """Wait until no message of a trace waits for the engine."""
        began = time.monotonic()
        longest = WAIT_TIMEOUT if timeout is None else min(timeout, WAIT_TIMEOUT)
        until = None if timeout is None else self._engine.clock.now() + round(longest * 1000)
        with self._history.watch(trace) as watch:
            # A check takes time of the engine, so the intervals grow with the time waited.
            while not watch.closed and (
                self._control.is_unfinished(trace)
                or (until is not None and self._is_delayed(trace, until))
            ):
                elapsed = time.monotonic() - began
                if elapsed > longest:
                    raise RequestError(
                        504,
                        f"Message {trace} is not finished after {longest:g} s. Request its events"
                        f" later with GET /-/trace/{trace}.",
                    )
                time.sleep(min(0.25, elapsed / 10))
                while not watch.wait(min(1.0, longest)):
                    if is_gone() or time.monotonic() - began > longest:
                        break
                if is_gone():
                    return

    def _is_delayed(self, trace: int, until: int) -> bool:
        """Return whether a delay of a trace is due before an instant."""
        pending: set[int] = set()
        for event in self._history.of_trace(trace):
            if isinstance(event, events.Invocation):
                pending.update(each.seq for each in event.delays if each.due <= until)
                pending.difference_update(each.seq for each in event.cancelled)
            elif isinstance(event, events.Fired | events.Cancelled):
                pending.discard(event.delay.seq)
        return bool(pending)

    def _events(self, after: int, limit: int, trace: int | None = None) -> list[JsonObject]:
        """Return a page of kept events as objects, each with the number of its event."""
        return [
            {**each, "number": number}
            for number, event in self._history.page(after, limit, trace)
            for each in self.serializer.objects(event)
        ]

    def _feed(self, topic: str, key: str, body: Body) -> ApiResponse:
        """Send the messages of a record of a Kafka topic of module.yaml."""
        if topic not in self._topics:
            known = ", ".join(f"'{name}'" for name in self._topics) or "none"
            raise RequestError(404, f"module.yaml reads no topic '{topic}'. It reads {known}.")
        typename, targets = self._topics[topic]
        content_type = f"application/vnd.{typename}"
        with self._room(body.size * len(targets)):
            data = body.read()
            messages = [
                (Address(each, key), self._message(each, data, content_type)) for each in targets
            ]
            traces = self._engine.submit(messages).result()
        return ApiResponse(200, {"traces": traces})

    # -- reading --------------------------------------------------------------------------

    def get(self, path: list[str], query: dict[str, str]) -> ApiResponse:
        """Answer ``GET /topic`` and ``GET /-/…``."""
        if path[0] != "-":
            return self._pop("/".join(path))
        limit = min(_number(query, "limit", PAGE), PAGE)
        match path[1:]:
            case ["status"]:
                return ApiResponse(200, _status(self._engine.status()))
            case ["state", namespace, name, id]:
                return ApiResponse(200, self._state(Address(f"{namespace}/{name}", id)))
            case ["addresses", namespace, name]:
                typename = f"{namespace}/{name}"
                found = self._control.addresses(typename, query.get("after", ""), limit)
                if not found:
                    self._check_served(typename)
                return ApiResponse(200, [str(address) for address in found])
            case ["instances", *which]:
                return ApiResponse(200, self._instances(which, query, limit))
            case ["egress", *topic] if topic:
                after = _number(query, "after", 0)
                records = self._control.egress("/".join(topic), after, limit, PAGE_BYTES)
                return ApiResponse(200, [self.serializer.egress(each) for each in records])
            case ["parked"]:
                parked = self._control.parked(_number(query, "after", 0), limit)
                return ApiResponse(200, [self.serializer.parked(each) for each in parked])
            case ["dead"]:
                dead = self._control.dead(limit)
                return ApiResponse(200, [self.serializer.dead(each) for each in dead])
            case ["delays"]:
                now = self._engine.clock.now()
                return ApiResponse(
                    200,
                    [
                        {**self.serializer.delay(each), "due_in_ms": each.due - now}
                        for each in self._control.delays(limit)
                    ],
                )
            case ["trace", number] if number.isdecimal():
                after = _number(query, "after", 0)
                return ApiResponse(200, self._events(after, limit, int(number)))
            case ["history"]:
                return ApiResponse(200, self._events(_number(query, "after", 0), limit))
        raise _no_route(path[1:])

    def _instances(self, which: list[str], query: dict[str, str], limit: int) -> list[JsonObject]:
        """Return a page of the instances of a function type, or of all."""
        typename = "/".join(which) or None
        after = as_address(query["after"]) if query.get("after") else None
        found = self._control.instances(typename, after, limit)
        if not found and typename is not None:
            self._check_served(typename)
        return [self.serializer.instance(each) for each in found]

    def backup(self) -> t.BinaryIO:
        """Answer ``GET /-/backup``: an open file with a copy of the database."""
        return self._control.backup()

    def _pop(self, topic: str) -> ApiResponse:
        record = self._control.pop(topic)
        if record is None:
            return ApiResponse(404, b"")
        return ApiResponse(200, record.value, (("Statefun-Egress-Seq", str(record.seq)),))

    def _state(self, address: Address) -> JsonObject:
        state = self._control.state(address)
        if not state:
            self._check_served(address.type)
        return {name: self.serializer.value(value) for name, value in state.items()}

    def _check_served(self, typename: str) -> None:
        """Refuse a function type that no endpoint serves.

        :raises UnknownTargetError: No endpoint serves it.
        """
        self._engine.check_target(typename)

    # -- changing -------------------------------------------------------------------------

    def post(
        self,
        path: list[str],
        body: Body,
        content_type: str | None,
        query: cabc.Mapping[str, str] = types.MappingProxyType({}),
    ) -> ApiResponse:
        """Answer ``POST /-/…``, without the first segment of the path."""
        several = "all" in query
        control, serializer = self._control, self.serializer
        match path:
            case ["topic", topic, key]:
                return self._feed(topic, key, body)
            case ["retry"]:
                return ApiResponse(200, {"retried": [str(each) for each in control.retry_all()]})
            case ["retry", *which] if which:
                retried = control.retry(_which(which), several=several)
                return ApiResponse(200, {"retried": [str(each) for each in retried]})
            case ["drop"] if several:
                dropped = control.drop_all()
                return ApiResponse(200, {"dropped": [serializer.envelope(x) for x in dropped]})
            case ["drop", *which] if which:
                dropped = control.drop(_which(which), several=several)
                return ApiResponse(200, {"dropped": [serializer.envelope(x) for x in dropped]})
            case ["replace", *which] if which:
                address = control.parked_at(_which(which))
                message = self._codec.message(address.type, body.read(), content_type)
                control.replace(address, message)
                return ApiResponse(200, {"replaced": str(address)})
            case ["revive", number] if number.isdecimal():
                return ApiResponse(
                    200, {"revived": serializer.envelope(control.revive(int(number)))}
                )
            case ["fire", number] if number.isdecimal():
                return ApiResponse(
                    200, {"fired": serializer.delay(control.deliver_delay(int(number)))}
                )
            case ["cancel", number] if number.isdecimal():
                return ApiResponse(
                    200, {"cancelled": serializer.delay(control.cancel_delay(int(number)))}
                )
            case ["purge"] if several:
                return ApiResponse(200, {"purged": control.purge_all()})
            case ["purge", number] if number.isdecimal():
                return ApiResponse(200, {"purged": serializer.dead(control.purge(int(number)))})
            case ["pause", namespace, name]:
                return ApiResponse(200, {"waiting": control.hold(f"{namespace}/{name}")})
            case ["resume", namespace, name]:
                return ApiResponse(200, {"waiting": control.release(f"{namespace}/{name}")})
        raise _no_route(path)


def _no_route(path: list[str]) -> RequestError:
    return RequestError(
        404, f"There is no route '/-/{'/'.join(path)}'. See the README for a list of the routes."
    )


def _number(query: dict[str, str], name: str, default: int) -> int:
    """Return a number of the query."""
    text = query.get(name, str(default))
    if not text.isdecimal() or len(text) > 19 or int(text) >= 1 << 63:
        raise RequestError(400, f"'{name}={text}' is not a number. Write it as {name}={default}.")
    return int(text)


def _which(path: list[str]) -> Address | int:
    """Return the trace or the address that names parked messages."""
    if len(path) == 1 and path[0].isdecimal():
        return int(path[0])
    if len(path) == 3:
        return Address(f"{path[0]}/{path[1]}", path[2])
    name = "/".join(path)
    raise RequestError(
        400,
        f"'{name}' is neither the number of a message nor an address. Use /N or"
        " /namespace/name/id.",
    )


def _status(status: Status) -> JsonObject:
    slow = [each._asdict() for each in status.slow]
    return {"idle": status.idle, **status._asdict(), "slow": slow}
