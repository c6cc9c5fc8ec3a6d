"""The errors of the functions API.

::

    StateFunError
    ├── RegistrationError (ValueError)         a function cannot be registered as written
    │   └── DuplicateFunctionError             two functions accept the same messages
    ├── ProtocolError (ValueError)             a body is not a request of the runtime
    ├── FunctionNotFoundError (LookupError)    no function has the typename of a request
    ├── StateError
    │   ├── UnknownStateError (LookupError)    a function uses a state that it does not declare
    │   └── StateTypeError (TypeError)         a value and the type of its state do not fit
    ├── MessageTypeError (TypeError)           a message is not of the type it is read as
    └── InvalidReturnError (TypeError)         a function returned something other than Effects

An invalid argument (a malformed typename, a negative delay) raises a plain
``ValueError`` or ``TypeError``. An exception that a function raises is never replaced; it gets a
note that names the invocation. The embedded engine, ``module_yaml``, ``flink`` and ``testing``
define the errors of their own parts.
"""

from __future__ import annotations

import collections.abc as cabc

from .values._text import did_you_mean
from .values._text import suggestions


class StateFunError(Exception):
    """The base of the errors in this module."""


class RegistrationError(StateFunError, ValueError):
    """A function cannot be registered as it is written or declared."""


class DuplicateFunctionError(RegistrationError):
    """Two functions of one typename accept the same message type."""


class ProtocolError(StateFunError, ValueError):
    """A request body is not what the runtime sends.

    :param body: The bytes of the request.
    """

    def __init__(self, message: str, body: bytes) -> None:
        super().__init__(message)
        self.body = body


class FunctionNotFoundError(StateFunError, LookupError):
    """No function is registered for the typename of a request.

    :param typename: The typename in the request.
    :param known: The registered typenames, for suggestions.
    """

    def __init__(self, typename: str, known: cabc.Iterable[str]) -> None:
        self.typename = typename
        self.suggestions = suggestions(typename, known)
        hint = did_you_mean(self.suggestions)
        super().__init__(
            f"No stateful function is registered for '{typename}'.{hint}"
            " Run 'flask statefun routes' to list the registered functions."
        )


class StateError(StateFunError):
    """The base of the errors about states."""


class UnknownStateError(StateError, LookupError):
    """A function uses a state that it does not declare."""


class StateTypeError(StateError, TypeError):
    """A value does not fit the type of its state, or a stored value is of another type."""


class MessageTypeError(StateFunError, TypeError):
    """A message is not of the type it is read as, or no function accepts its type."""


class InvalidReturnError(StateFunError, TypeError):
    """A function returned something other than Effects."""
