"""Every error the package raises on purpose.

::

    StateFunError
    ├── RegistrationError (ValueError)      a function cannot be registered as written
    │   └── DuplicateFunctionError          two functions claim the same messages
    ├── ProtocolError (ValueError)          a body is not a request of the runtime
    ├── FunctionNotFound (LookupError)      no function answers the typename of a request
    ├── StateError
    │   ├── UnknownStateError (LookupError) the function does not declare that state
    │   └── StateTypeError (TypeError)      a value and its state's type do not fit
    ├── MessageTypeError (TypeError)        a message is not of the type it is read as
    └── InvalidReturnError (TypeError)      a function returned something else than Effects

Values that are wrong in themselves (a bad typename, a negative delay) raise plain ``ValueError``
and ``TypeError``. Exceptions out of a user's function are never wrapped: they get a note that says
which invocation they ended.
"""

from __future__ import annotations

import collections.abc as cabc
import difflib


class StateFunError(Exception):
    """The base of the package's own errors."""


class RegistrationError(StateFunError, ValueError):
    """A function cannot be registered as it is written or declared."""


class DuplicateFunctionError(RegistrationError):
    """Two functions of one typename accept the same message type."""


class ProtocolError(StateFunError, ValueError):
    """A request body is not what the runtime sends.

    :param body: The bytes as they came.
    """

    def __init__(self, message: str, body: bytes) -> None:
        super().__init__(message)
        self.body = body


class FunctionNotFound(StateFunError, LookupError):
    """No function is registered for the typename of a request.

    :param typename: What the request asked for.
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
    """The base of what can be wrong with a state."""


class UnknownStateError(StateError, LookupError):
    """A function used a state that it does not declare."""


class StateTypeError(StateError, TypeError):
    """A value does not fit its state's type, or a stored value is of another type."""


class MessageTypeError(StateFunError, TypeError):
    """A message is not of the type it is read as, or no function takes its type."""


class InvalidReturnError(StateFunError, TypeError):
    """A function returned something other than Effects."""


def suggestions(name: str, known: cabc.Iterable[str]) -> list[str]:
    """Return at most three known names near a misspelt one."""
    return difflib.get_close_matches(name, sorted(known), n=3)


def did_you_mean(names: cabc.Sequence[str]) -> str:
    """Return a sentence that offers names, or nothing when there are none."""
    return " Did you mean " + " or ".join(f"'{name}'" for name in names) + "?" if names else ""
