"""Events as JSON objects, for ``--format json`` and the HTTP API."""

from __future__ import annotations

import collections.abc as cabc
import traceback
import typing as t

from ..embedded import EgressRecord
from ..embedded import events
from ..embedded.control import Instance
from ..embedded.control import Waiting
from ..embedded.error_text import text_of
from ..embedded.records import Dead
from ..embedded.records import Delay
from ..embedded.records import Envelope
from ..values.message import Message
from .codec import MessageCodec
from .codec import plain_bytes

JsonObject: t.TypeAlias = dict[str, t.Any]


class Serializer:
    """Turns events into JSON objects. The field ``event`` names the kind of an event."""

    def __init__(self, codec: MessageCodec) -> None:
        self._codec = codec

    def objects(self, event: events.Event) -> cabc.Iterator[JsonObject]:
        """Yield the objects of an event: an invocation, and then each record that it wrote."""
        head: JsonObject = {"event": type(event).__name__.lower(), "at": event.at}
        if isinstance(event, events.Invocation):
            yield {**head, **self._invocation(event)}
            for record in event.records:
                yield {"event": "egress", "at": event.at, **self.egress(record)}
        elif isinstance(event, events.Failed):
            yield {**head, "event": "error", **self._failure(event)}
        elif isinstance(event, events.Fired):
            delay = self.delay(event.delay)
            yield {**head, "trace": event.trace, "delay": delay, "seq": event.seq}
        elif isinstance(event, events.Cancelled):
            yield {**head, "trace": event.trace, "delay": self.delay(event.delay)}
        elif isinstance(event, events.Retried):
            yield {
                **head,
                "trace": event.trace,
                "address": str(event.address),
                "replaced": event.replaced,
            }
        elif isinstance(event, events.Dropped):
            yield {**head, "trace": event.trace, "message": self.envelope(event.envelope)}
        elif isinstance(event, events.Undelivered):
            yield {**head, "error": text_of(event.error), "delay_ms": event.delay}
        else:
            fields = (name for name in event.__struct_fields__ if name != "at")
            yield {**head, **{name: getattr(event, name) for name in fields}}

    def _invocation(self, event: events.Invocation) -> JsonObject:
        return {
            "trace": event.trace,
            "address": str(event.address),
            "messages": [self.envelope(each) for each in event.batch],
            "duration_ms": round(event.duration * 1000, 3),
            "states": {
                name: [self.value(before), self.value(after)]
                for name, before, after in event.changes
            },
            "sends": [self.envelope(each) for each in event.sends],
            "delays": [self.delay(each) for each in event.delays],
            "cancelled": [self.delay(each) for each in event.cancelled],
        }

    def _failure(self, event: events.Failed) -> JsonObject:
        return {
            "trace": event.trace,
            "address": str(event.address),
            "messages": [self.envelope(each) for each in event.batch],
            "error": f"{type(event.error).__name__}: {text_of(event.error)}",
            "traceback": "".join(traceback.format_exception(event.error)),
            "parked": event.parked,
            "waiting": event.waiting,
        }

    def envelope(self, envelope: Envelope) -> JsonObject:
        """Return a message with its addresses."""
        return {
            "seq": envelope.seq,
            "trace": envelope.trace,
            "to": str(envelope.target),
            "from": None if envelope.caller is None else str(envelope.caller),
            "type": envelope.message.typename,
            "value": self._codec.plain(envelope.message),
        }

    def egress(self, record: EgressRecord) -> JsonObject:
        """Return an egress record. ``shown`` is its value as text for people."""
        return {
            "seq": record.seq,
            "trace": record.trace,
            "egress": record.egress,
            "topic": record.topic,
            "key": record.key,
            "value": plain_bytes(record.value),
            "shown": self._codec.record(record.value),
        }

    def delay(self, delay: Delay) -> JsonObject:
        """Return a delayed message."""
        return {
            "seq": delay.seq,
            "trace": delay.trace,
            "due": delay.due,
            "to": str(delay.target),
            "from": str(delay.caller),
            "token": delay.token,
            "type": delay.message.typename,
            "value": self._codec.plain(delay.message),
        }

    def parked(self, waiting: Waiting) -> JsonObject:
        """Return a parked address with the message that failed."""
        return {
            "address": str(waiting.parked.address),
            "trace": waiting.parked.trace,
            "error": waiting.parked.error,
            "since": waiting.parked.since,
            "behind": waiting.behind,
            "message": self.envelope(waiting.envelope),
        }

    def instance(self, instance: Instance) -> JsonObject:
        """Return a function instance that has messages or state."""
        return {
            "address": str(instance.address),
            "condition": instance.condition.value,
            "queued": instance.queued,
            "state": instance.has_state,
        }

    def dead(self, dead: Dead) -> JsonObject:
        """Return a dropped message."""
        return {"error": dead.error, "since": dead.since, **self.envelope(dead.envelope)}

    def value(self, message: Message | None) -> t.Any:
        """Return a value, or None without one."""
        return None if message is None else self._codec.plain(message)
