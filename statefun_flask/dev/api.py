"""The api of the embedded engine: what it answers to requests, whatever server they come by.

The playground's two routes, ``PUT /namespace/name/id`` and ``GET /topic``, and everything else
below ``/-/``.
"""

from __future__ import annotations

import collections.abc as cabc
import queue
import typing as t

from ..embedded import Control
from ..embedded import Engine
from ..embedded.errors import UnknownTarget
from ..values.address import Address
from ..values.message import Message
from . import idempotency
from .codec import MessageCodec
from .codec import named
from .codec import RequestError
from .history import History
from .serializer import JsonObject
from .serializer import Serializer

#: How long a request with ``wait`` is kept, in seconds.
PATIENCE = 300.0

Answer: t.TypeAlias = "tuple[int, t.Any]"


class Api:
    """What the routes do.

    :param topics: For each Kafka topic that module.yaml reads: its value type and its targets.
    """

    def __init__(
        self,
        engine: Engine,
        codec: MessageCodec,
        history: History,
        topics: cabc.Mapping[str, tuple[str, cabc.Sequence[str]]],
    ) -> None:
        self.engine = engine
        self.control = Control(engine)
        self.codec = codec
        self.serializer = Serializer(codec)
        self.history = history
        self._topics = topics

    # -- the playground's -----------------------------------------------------------------

    def send(
        self, address: Address, body: bytes, content_type: str | None, key: str | None, wait: bool
    ) -> Answer:
        """Send a message, and say its number, or all that it caused."""
        message = self._message(address.type, body, content_type)
        with self.history.follow() as follower:
            trace, is_new = idempotency.send(self.engine, address, message, key)
            if not wait or not is_new:
                return 200, {"trace": trace}
            self._wait_for(trace, follower)
        return 200, {"trace": trace, "events": self._events(trace)}

    def _message(self, function: str, body: bytes, content_type: str | None) -> Message:
        """Return a message; its bytes as they are for a function that is served elsewhere."""
        try:
            return self.codec.message(function, body, content_type)
        except RequestError as exc:
            if exc.status != 404:
                raise
            unknown = exc
        try:
            self._check_served(function)
        except UnknownTarget:
            raise unknown from None
        return named(function, body, content_type)

    def _wait_for(self, trace: int, follower: queue.Queue[t.Any]) -> None:
        """Wait until nothing of a cause waits or runs, but for delays and parked messages."""
        while idempotency.unfinished(self.engine, trace):
            try:
                event = follower.get(timeout=PATIENCE)
                while event is not None and not follower.empty():
                    event = follower.get_nowait()  # many events are one reason to look again
                if event is None:
                    return
            except queue.Empty:
                raise RequestError(504, f"Message {trace} is not finished yet.") from None

    def _events(self, trace: int) -> list[JsonObject]:
        return [each for event in self.history.of(trace) for each in self.serializer.objects(event)]

    def feed(self, topic: str, key: str, body: bytes) -> Answer:
        """Act as a record of a Kafka topic that module.yaml reads."""
        if topic not in self._topics:
            known = ", ".join(f"'{name}'" for name in self._topics) or "none"
            raise RequestError(404, f"module.yaml reads no topic '{topic}'. It reads {known}.")
        typename, targets = self._topics[topic]
        content_type = f"application/vnd.{typename}"
        messages = [
            (Address(each, key), self._message(each, body, content_type)) for each in targets
        ]
        return 200, {"traces": self.engine.submit(messages).result()}

    # -- looking --------------------------------------------------------------------------

    def get(self, path: list[str], query: dict[str, str]) -> Answer:
        """Answer ``GET /-/…``."""
        control, serializer = self.control, self.serializer
        limit = _number(query, "limit", 1000)
        match path:
            case ["status"]:
                return 200, {**self.engine.status()._asdict()}
            case ["state", namespace, name, id]:
                address = Address(f"{namespace}/{name}", id)
                state = control.state(address)
                if not state:
                    self._check_served(address.type)
                return 200, {each: serializer.value(value) for each, value in state.items()}
            case ["addresses", namespace, name]:
                typename = f"{namespace}/{name}"
                found = control.addresses(typename, query.get("after", ""), limit)
                if not found:
                    self._check_served(typename)
                return 200, [str(address) for address in found]
            case ["egress", *topic] if topic:
                records = control.egress("/".join(topic), _number(query, "after", 0), limit)
                return 200, [serializer.egress(each) for each in records]
            case ["parked"]:
                return 200, [
                    {
                        "address": str(each.parked.address),
                        "trace": each.parked.trace,
                        "error": each.parked.error,
                        "since": each.parked.since,
                        "behind": each.behind,
                        "message": serializer.envelope(each.envelope),
                    }
                    for each in control.parked()
                ]
            case ["dead"]:
                return 200, [
                    {"error": each.error, "since": each.since, **serializer.envelope(each.envelope)}
                    for each in control.dead(limit)
                ]
            case ["delays"]:
                return 200, [serializer.delay(each) for each in control.delays(limit)]
            case ["trace", number] if number.isdecimal():
                return 200, self._events(int(number))
        raise RequestError(
            404, f"There is no '/-/{'/'.join(path)}'. See the README's list of routes."
        )

    def _check_served(self, typename: str) -> None:
        """Tell who looks for nothing of a mistyped function so."""
        self.engine.ask(lambda core: core.routes.endpoint(typename))

    # -- dealing with it ------------------------------------------------------------------

    def act(self, path: list[str], body: bytes, content_type: str | None) -> Answer:
        """Answer ``POST /-/…``."""
        control, serializer = self.control, self.serializer
        match path:
            case ["retry"]:
                return 200, {"retried": [str(each) for each in control.retry_all()]}
            case ["retry", *which] if which:
                return 200, {"retried": [str(each) for each in control.retry(_which(which))]}
            case ["drop", *which] if which:
                return 200, {
                    "dropped": [serializer.envelope(x) for x in control.drop(_which(which))]
                }
            case ["replace", namespace, name, id]:
                address = Address(f"{namespace}/{name}", id)
                control.replace(address, self.codec.message(address.type, body, content_type))
                return 200, {"replaced": str(address)}
            case ["revive", number] if number.isdecimal():
                return 200, {"revived": serializer.envelope(control.revive(int(number)))}
            case ["fire", number] if number.isdecimal():
                return 200, {"fired": serializer.delay(control.fire(int(number)))}
        raise RequestError(
            404, f"There is no '/-/{'/'.join(path)}'. See the README's list of routes."
        )


def _number(query: dict[str, str], name: str, default: int) -> int:
    """Return a number of the query."""
    text = query.get(name, str(default))
    if not text.isdecimal() or int(text) >= 1 << 63:
        raise RequestError(400, f"'{name}={text}' is no number. Write it as {name}={default}.")
    return int(text)


def _which(path: list[str]) -> Address | int:
    """Return what is parked by its trace, or by its address."""
    if len(path) == 1 and path[0].isdecimal():
        return int(path[0])
    if len(path) == 3:
        return Address(f"{path[0]}/{path[1]}", path[2])
    raise RequestError(400, f"'{'/'.join(path)}' is neither a number nor namespace/name/id.")
