"""Declared states: the handles through which a function reads and writes its state."""

from __future__ import annotations

import collections.abc as cabc
import datetime as dt
import typing as t

from ..errors import RegistrationError
from ..errors import StateTypeError
from ..errors import UnknownStateError
from ._any import UNTYPED
from ._any import write_any
from ._text import did_you_mean
from ._text import duration_text
from ._text import shorten
from ._text import suggestions
from .derived import type_of
from .message import encode
from .types import Type
from .types import TypeLike

T = t.TypeVar("T")

#: A stored value: its typename and its payload; None for a state without a value.
StoredForm: t.TypeAlias = "tuple[str, bytes] | None"

#: The runtime keeps states of its own under these names, for every function. A user's state of the
#: same name ends the job with a ClassCastException.
RESERVED = ("batch", "request-state")


class TypeOfTheValue:
    """A class without instances, for the first overload of methods that take a state's value.

    mypy reports a value of another type by the first overload: 'incompatible type
    "ValueSpec[int]"; expected "ValueSpec[TypeOfTheValue]"'. Without that overload it reports
    'Cannot infer value of type parameter "T"'.
    """


class ValueSpec(t.Generic[T]):
    """A state that a function declares, and the handle to read and write it. It is immutable.

    :param name: An identifier; the name of the state in the runtime.
    :param type: A class, an annotation such as ``dict[str, int]``, or a :class:`Type`. A state
        without a type accepts every value that has one. It is stored as ``google.protobuf.Any``,
        under both protocols.
    :param expire_after_write: The value expires this long after the last write.
    :param expire_after_call: The value expires this long after the last write, or the last call of
        the function for the same id, whichever is later.
    :param default: What the state is read as while it has no value; immutable. It is not stored.
    :param default_factory: Returns a new default at each read, such as ``list``. It is called once
        here, so that its value is checked.
    :raises RegistrationError: The name, the type, the expiration or the default is not allowed.
    """

    __slots__ = (
        "_read",
        "default",
        "default_factory",
        "expire_after_call",
        "expire_after_write",
        "name",
        "type",
        "typename",
    )

    name: str
    type: Type[T]
    #: The typename of the stored values.
    typename: str
    expire_after_write: dt.timedelta | None
    expire_after_call: dt.timedelta | None
    default: T | None
    default_factory: cabc.Callable[[], T] | None
    _read: cabc.Callable[[bytes], T] | None

    if t.TYPE_CHECKING:
        # Type checkers see two classes, so that they know which state is never read as None.

        @t.overload
        def __new__(
            cls,
            name: str,
            *,
            expire_after_write: dt.timedelta | None = None,
            expire_after_call: dt.timedelta | None = None,
        ) -> ValueSpec[t.Any]: ...
        @t.overload
        def __new__(
            cls,
            name: str,
            type: TypeLike[T],
            *,
            expire_after_write: dt.timedelta | None = None,
            expire_after_call: dt.timedelta | None = None,
        ) -> ValueSpec[T]: ...
        @t.overload
        def __new__(
            cls,
            name: str,
            type: TypeLike[T],
            *,
            default: T,
            expire_after_write: dt.timedelta | None = None,
            expire_after_call: dt.timedelta | None = None,
        ) -> ValueSpecWithDefault[T]: ...
        @t.overload
        def __new__(
            cls,
            name: str,
            type: TypeLike[T],
            *,
            default_factory: cabc.Callable[[], T],
            expire_after_write: dt.timedelta | None = None,
            expire_after_call: dt.timedelta | None = None,
        ) -> ValueSpecWithDefault[T]: ...
        def __new__(cls, name: str, type: t.Any = None, **options: t.Any) -> t.Any:
            """Return the state, see the class."""
            ...

    def _declare(
        self,
        name: str,
        type: t.Any = None,
        *,
        default: t.Any = None,
        default_factory: cabc.Callable[[], t.Any] | None = None,
        expire_after_write: dt.timedelta | None = None,
        expire_after_call: dt.timedelta | None = None,
    ) -> None:
        check_name(name)
        if expire_after_write is not None and expire_after_call is not None:
            raise RegistrationError(
                f"The state '{name}' has both expire_after_write and expire_after_call."
                " Choose one of them."
            )
        for expiry in (expire_after_write, expire_after_call):
            if expiry is not None:
                check_expiry(name, expiry)

        chosen = UNTYPED if type is None else _declared_type(name, type)
        if default is not None or default_factory is not None:
            _check_default(name, chosen, default, default_factory)

        set_once = super().__setattr__
        set_once("name", name)
        set_once("type", chosen)
        set_once("typename", chosen.typename)
        set_once("expire_after_write", expire_after_write)
        set_once("expire_after_call", expire_after_call)
        set_once("default", default)
        set_once("default_factory", default_factory)
        set_once("_read", chosen._reader(chosen.typename))

    if not t.TYPE_CHECKING:
        __init__ = _declare

    def __setattr__(self, name: str, value: object) -> t.NoReturn:
        raise AttributeError(
            f"A ValueSpec is immutable, so '{name}' cannot be changed. Make a new ValueSpec."
        )

    def __delattr__(self, name: str) -> t.NoReturn:
        self.__setattr__(name, None)

    def __copy__(self) -> t.Self:
        return self

    def __deepcopy__(self, memo: object) -> t.Self:
        return self

    @property
    def _is_untyped(self) -> bool:
        """True for a state that accepts every value."""
        return self.type is UNTYPED

    def _encode(self, value: T, type: t.Any = None) -> tuple[str, bytes]:
        """Return the stored form of a value.

        :param type: The type to store the value of an untyped state as; by default the value's own.
        :raises StateTypeError: The value does not fit the type of the state.
        """
        if type is not None and (wanted := type_of(type)) != self.type:
            if not self._is_untyped:
                raise declared_type_mismatch(self, wanted.typename)
            return self.typename, write_any(*encode(value, wanted))
        try:
            return self.typename, self.type.serialize(value)
        except (TypeError, ValueError) as exc:
            raise StateTypeError(
                f"The state '{self.name}' of type '{self.type.typename}' cannot hold"
                f" {shorten(repr(value))}. {exc}"
            ) from exc

    @property
    def _has_default(self) -> bool:
        """True for a state that is never read as None."""
        return self.default is not None or self.default_factory is not None

    def _decode(self, stored: StoredForm) -> T | None:
        """Return the value of a stored form; without one the default, or None.

        :raises StateTypeError: Its bytes are of another type, or malformed.
        """
        if stored is None:
            make = self.default_factory
            return self.default if make is None else make()
        typename, payload = stored
        reader = self._read if typename == self.typename else self.type._reader(typename)
        if reader is None:
            raise stored_type_mismatch(self, typename)
        try:
            return reader(payload)
        except ValueError as exc:
            raise StateTypeError(
                f"The stored value of the state '{self.name}' cannot be read as '{typename}':"
                f" {exc}. Check what wrote it."
            ) from exc

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ValueSpec):
            return NotImplemented
        return self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self.name)

    def _key(self) -> tuple[t.Any, ...]:
        return (
            self.name,
            self.type,
            self.expire_after_write,
            self.expire_after_call,
            self.default,
            self.default_factory,
        )

    def __repr__(self) -> str:
        return f"<ValueSpec {self}>"

    def __str__(self) -> str:
        text = self.name if self._is_untyped else f"{self.name}: {self.type.label}"
        if self.default_factory is not None:
            text += f" = {getattr(self.default_factory, '__name__', '…')}()"
        elif self.default is not None:
            text += f" = {shorten(repr(self.default))}"
        if self.expire_after_write is not None:
            text += f" (expires {duration_text(self.expire_after_write)} after write)"
        if self.expire_after_call is not None:
            text += f" (expires {duration_text(self.expire_after_call)} after call)"
        return text


if t.TYPE_CHECKING:

    class ValueSpecWithDefault(ValueSpec[T]):
        """A :class:`ValueSpec` with a default, as type checkers see it."""

        def _decode(self, stored: StoredForm) -> T:
            """Return the value of a stored form; without one the default."""
            ...

else:
    ValueSpecWithDefault = ValueSpec


def _declared_type(name: str, python: t.Any) -> Type[t.Any]:
    """Return the type of a state, checked as far as its annotations are defined already."""
    try:
        chosen = type_of(python)
    except TypeError as exc:
        raise _not_allowed(name, exc) from None
    try:
        chosen._check()
    except NameError:
        pass  # The check is made again before the first request.
    except RegistrationError as exc:
        raise _not_allowed(name, exc) from None
    return chosen


def _not_allowed(name: str, exc: Exception) -> RegistrationError:
    return RegistrationError(f"The type of the state '{name}' is not allowed. {exc}")


def _check_default(
    name: str,
    type: Type[t.Any],
    default: t.Any,
    default_factory: cabc.Callable[[], t.Any] | None,
) -> None:
    """Check the default of a state.

    :raises RegistrationError: It is not allowed.
    """
    if default is not None and default_factory is not None:
        raise RegistrationError(
            f"The state '{name}' has both default and default_factory. Choose one of them."
        )
    if type is UNTYPED:
        raise RegistrationError(
            f"The state '{name}' has a default, but no type. Write ValueSpec('{name}', type, …)."
        )
    if default_factory is not None:
        if not callable(default_factory):
            raise RegistrationError(
                f"The default_factory of the state '{name}' is {shorten(repr(default_factory))}."
                " Write a function without parameters, such as list."
            )
        default = default_factory()
    elif _is_mutable(default):
        raise RegistrationError(
            f"The default of the state '{name}' is the mutable {shorten(repr(default))}, which all"
            " reads would share. Write default_factory=…, with a function that returns a new one."
        )
    try:
        type.serialize(default)
    except (TypeError, ValueError) as exc:
        raise RegistrationError(
            f"The default of the state '{name}' is not of its type '{type.label}'. {exc}"
        ) from None


def _is_mutable(value: object) -> bool:
    """Return whether a value may be changed in place, judged by whether it has a hash."""
    try:
        hash(value)
    except TypeError:
        return True
    return False


def check_name(name: object) -> None:
    """Check the name of a state.

    :raises RegistrationError: A state cannot have that name.
    """
    if name in RESERVED:
        raise RegistrationError(
            f"'{name}' cannot name a state, because the runtime uses that name for a state of its"
            " own. Choose another name."
        )
    if not isinstance(name, str) or not name.isidentifier():
        raise RegistrationError(
            f"{name!r} cannot name a state. Use letters, digits and '_', not starting with a digit."
        )


def check_expiry(name: str, expiry: object) -> None:
    """Check the time to live of a state.

    :raises RegistrationError: It is not a timedelta of at least one millisecond.
    """
    if not isinstance(expiry, dt.timedelta):
        raise RegistrationError(
            f"The expiration of the state '{name}' must be a timedelta, not {expiry!r}."
            " Write for example timedelta(hours=1)."
        )
    if expiry < dt.timedelta(milliseconds=1):
        raise RegistrationError(
            f"The expiration of the state '{name}' is {expiry}, less than one millisecond."
            " Leave it out for a state that never expires."
        )


def as_spec(state: t.Any) -> ValueSpec[t.Any]:
    """Return the spec of an element of ``states``: a spec, or the name of an untyped state."""
    if isinstance(state, ValueSpec):
        return state
    if isinstance(state, str):
        return ValueSpec(state)
    raise RegistrationError(
        f"{state!r} is not a state. Declare it as ValueSpec('name', type) or as a bare 'name'."
    )


def state_name(state: ValueSpec[t.Any] | str) -> str:
    """Return the name of a state that is given by its handle or its name."""
    return state.name if isinstance(state, ValueSpec) else state


def unknown_state(
    state: ValueSpec[t.Any] | str, declared: cabc.Mapping[str, ValueSpec[t.Any]], function: str
) -> UnknownStateError:
    """Return the error for a state that a function uses without declaring it."""
    name = state_name(state)
    hint = did_you_mean(suggestions(str(name), declared))
    return UnknownStateError(
        f"The function '{function}' does not declare the state '{name}'.{hint}"
        f" Add it to the states=[…] of '{function}'."
    )


def declared_type_mismatch(spec: ValueSpec[t.Any], typename: str) -> StateTypeError:
    """Return the error for a state that is used with a type other than its declared one."""
    return StateTypeError(
        f"The state '{spec.name}' is declared as '{spec.type.typename}', not '{typename}'."
        " Use the handle that it was declared with."
    )


def stored_type_mismatch(spec: ValueSpec[t.Any], typename: str) -> StateTypeError:
    """Return the error for a state whose stored value is not of its declared type."""
    return StateTypeError(
        f"The state '{spec.name}' is declared as '{spec.type.typename}', but its stored value is of"
        f" type '{typename}'. Declare it with the type it was written with, or use a new name."
    )
