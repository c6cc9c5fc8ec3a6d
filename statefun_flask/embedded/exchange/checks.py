"""Checks of a reply that need the state of the engine."""

from __future__ import annotations

import collections.abc as cabc

from ...values._text import did_you_mean
from ...values._text import suggestions
from ...values.address import Address
from ...values.message import Message
from ..endpoints.routes import Routes
from ..errors import ReplyRefusedError
from ..errors import UnknownEgressError
from ..errors import UnknownTargetError
from .formats import RecordContent
from .reply import Cancel
from .reply import Later
from .reply import Result
from .reply import UNSET
from .states import StateSpecs

Pending = cabc.Callable[[str, str], bool]


def check(
    address: Address, result: Result, specs: StateSpecs, routes: Routes, pending: Pending
) -> list[RecordContent]:
    """Check a result before any of it is applied, and return the contents of its egress records.

    :param specs: The registered states of the function.
    :param pending: Returns whether a delay with that caller id and token is pending.
    :raises ReplyRefusedError: The result breaks a rule.
    """
    try:
        for target, _ in result.sends:
            routes.endpoint(target.type)
        if result.delayed:
            for each in result.delayed:
                if each.__class__ is Later:
                    routes.endpoint(each.target.type)
            _check_tokens(address, result.delayed, pending)
        contents: list[RecordContent] = []
        for name, message in result.egresses:
            contents.append(routes.egress(name).read(message))
    except UnknownTargetError as exc:
        name = "a message without a target" if exc.typename == "/" else "a message to a function"
        raise ReplyRefusedError(
            f"'{address.type}' sends {name} for id '{address.id}'. {exc}"
        ) from None
    except (UnknownEgressError, ValueError) as exc:
        raise ReplyRefusedError(
            f"'{address.type}' sends a record to an egress for id '{address.id}'. {exc}"
        ) from None
    if result.mutations:
        _check_states(address, result, specs)
    return contents


def check_sizes(
    address: Address, result: Result, contents: cabc.Sequence[RecordContent], largest: int
) -> None:
    """Check that the parts of a result fit into rows of the store.

    :param largest: The largest size of a row in bytes.
    :raises ReplyRefusedError: A message, a record or a state is larger.
    """
    own = text_size(address.type, address.id)
    for target, message in result.sends:
        _check_size(address, "message", own + message_size(target, message), largest)
    for each in result.delayed:
        if isinstance(each, Later):
            size = own + message_size(each.target, each.message) + text_size(each.token or "")
            _check_size(address, "delayed message", size, largest)
    for (egress, message), content in zip(result.egresses, contents, strict=True):
        texts = text_size(egress, content.topic, content.key or "", message.typename)
        _check_size(address, "record", texts + len(content.value), largest)
    for mutation in result.mutations:
        size = own + text_size(mutation.name) + len(mutation.value or b"")
        _check_size(address, f"value of the state '{mutation.name}'", size, largest)


def message_size(target: Address, message: Message) -> int:
    """Return the size of a message to an address in the store, in bytes.

    :raises UnicodeEncodeError: A text of the message cannot be stored.
    """
    return text_size(target.type, target.id, message.typename) + len(message.value)


def text_size(*texts: str) -> int:
    """Return the size of texts in the store, in bytes."""
    return sum(len(text.encode()) for text in texts)


def _check_size(address: Address, what: str, size: int, largest: int) -> None:
    if size > largest:
        raise ReplyRefusedError(
            f"'{address.type}' makes a {what} of {size} bytes for id '{address.id}', and the engine"
            f" can store {largest} bytes at most. Make it smaller, or keep the content elsewhere."
        )


def _check_tokens(
    address: Address, delayed: cabc.Sequence[Later | Cancel], pending: Pending
) -> None:
    """Refuse a second message with a pending token. The order within the reply counts."""
    own: dict[str, bool] = {}
    for each in delayed:
        token = each.token
        if token is None:
            continue
        if isinstance(each, Cancel):
            own[token] = False
        elif own[token] if token in own else pending(address.id, token):
            raise ReplyRefusedError(
                f"'{address.type}' sends a delayed message for id '{address.id}' with the"
                f" cancellation token '{token}', but a message with that token is pending. Cancel"
                " that message first, or use another token: functions of different types with the"
                " same id share their tokens."
            )
        else:
            own[token] = True


def _check_states(address: Address, result: Result, specs: StateSpecs) -> None:
    for mutation in result.mutations:
        spec = specs.get(mutation.name)
        if spec is None:
            raise ReplyRefusedError(
                f"'{address.type}' changes the state '{mutation.name}' of id '{address.id}', which"
                f" is not registered.{did_you_mean(suggestions(mutation.name, specs))} Declare"
                " the state, so that the SDK registers it."
            )
        if mutation.value is not None and (mutation.typename or UNSET) != spec.typename:
            raise ReplyRefusedError(
                f"'{address.type}' writes a value of type '{mutation.typename}' to the state"
                f" '{mutation.name}' of id '{address.id}', which is registered as"
                f" '{spec.typename}'. Write the registered type, or use another state."
            )
