"""The signature of a stateful function, read from its annotations when it is registered."""

from __future__ import annotations

import collections.abc as cabc
import inspect
import sys
import types
import typing as t

from ..errors import RegistrationError
from ..values.derived import type_of
from ..values.message import ANY
from ..values.message import Message
from ..values.message import read_message
from ..values.types import is_protobuf
from ..values.types import Type

#: Converts a message to the argument of a function.
Convert: t.TypeAlias = cabc.Callable[[Message], t.Any]


class Signature(t.NamedTuple):
    """The annotations of a function, resolved.

    :param types: The types that it accepts, in the order of the annotation.
    :param catch_all: The conversion of messages of any other type; None when it accepts no others.
    :param returns_none: Whether its return annotation includes None.
    """

    types: tuple[Type[t.Any], ...]
    catch_all: Convert | None
    returns_none: bool


def read(function: t.Any, namespace: cabc.Mapping[str, t.Any] | None = None) -> Signature:
    """Read the annotations of a function.

    :param namespace: The local names at the place of registration, for textual annotations.
    :raises RegistrationError: It is not a function of two parameters, or its messages have no type.
    """
    target = plain_function(function)
    parameter = _second_parameter(function)
    annotations = _annotations(target)
    names = _names(target, namespace or {})

    annotation = _resolve(annotations.get(parameter, Message), names, function, parameter)
    returned = _resolve(annotations.get("return", object), names, function, "return")
    found, catch_all = _types(annotation, names, function, parameter)
    _check_distinct(found, function, parameter)
    _check_parts(found, function, parameter)
    return Signature(found, catch_all, returned is None or type(None) in t.get_args(returned))


def name_of(function: t.Any) -> str:
    """Return the qualified name of a function, for messages and listings."""
    named = getattr(function, "func", function)  # a partial has no name of its own
    return getattr(named, "__qualname__", None) or type(named).__qualname__


def plain_function(function: t.Any) -> t.Any:
    """Return the plain function of a method, a wrapper or a callable object."""
    if not callable(function):
        raise RegistrationError(
            f"{function!r} is not a function. Register a callable of (context, message)."
        )
    target = inspect.unwrap(function)
    if not hasattr(target, "__code__") and not inspect.ismethod(target):
        target = inspect.unwrap(getattr(target, "func", None) or type(target).__call__)
    return getattr(target, "__func__", target)


def _second_parameter(function: t.Any) -> str:
    """Return the name of the parameter that takes the message."""
    try:
        signature = _inspected(function)
        signature.bind(None, None)
    except (TypeError, ValueError):
        raise RegistrationError(
            f"'{name_of(function)}' cannot be called with two arguments."
            " A stateful function takes (context, message)."
        ) from None
    return list(signature.parameters)[1] if len(signature.parameters) > 1 else ""


def _annotations(target: t.Any) -> cabc.Mapping[str, t.Any]:
    """Return a function's annotations; a name that is not defined yet becomes a ForwardRef."""
    if sys.version_info >= (3, 14):
        # Reading __annotations__ would evaluate all annotations, the context's among them.
        import annotationlib

        return annotationlib.get_annotations(target, format=annotationlib.Format.FORWARDREF)
    found: cabc.Mapping[str, t.Any] = getattr(target, "__annotations__", {})
    return found


def _inspected(function: t.Any) -> inspect.Signature:
    """Return the parameters of a function without evaluating its annotations."""
    if sys.version_info >= (3, 14):
        import annotationlib

        return inspect.signature(function, annotation_format=annotationlib.Format.FORWARDREF)
    return inspect.signature(function)


def _evaluate(reference: t.ForwardRef, names: dict[str, t.Any]) -> t.Any:
    if sys.version_info >= (3, 14):
        # Its text may contain names that only the reference itself can resolve.
        return reference.evaluate(globals=names)
    return eval(reference.__forward_arg__, names)


def _text(reference: t.ForwardRef) -> str:
    """Return a reference as its author wrote it."""
    text = reference.__forward_arg__
    if sys.version_info >= (3, 14):
        import annotationlib

        # A part that could be evaluated already is a made up name there.
        for name, value in (reference.__extra_names__ or {}).items():
            text = text.replace(name, annotationlib.type_repr(value))
    return text


def _names(target: t.Any, namespace: cabc.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return the names for the textual annotations of a function.

    Its closure and globals come before the local names at the place of registration. For a nested
    function they come after: it is registered where it is defined, and there a local class shadows
    a global one.
    """
    module = getattr(target, "__globals__", {})
    is_local = "<locals>" in name_of(target)
    names = {**module, **namespace} if is_local else {**namespace, **module}

    code = getattr(target, "__code__", None)
    for name, cell in zip(
        getattr(code, "co_freevars", ()), getattr(target, "__closure__", None) or (), strict=False
    ):
        try:
            names[name] = cell.cell_contents
        except ValueError:
            continue  # not bound yet
    return names


def _resolve(annotation: t.Any, names: dict[str, t.Any], function: t.Any, parameter: str) -> t.Any:
    """Return the value of an annotation that is text or an alias."""
    shown = annotation
    try:
        if isinstance(annotation, t.ForwardRef):
            shown = _text(annotation)
            return _resolve(_evaluate(annotation, names), names, function, parameter)
        if isinstance(annotation, str):
            return _resolve(eval(annotation, names), names, function, parameter)
        if type(annotation).__name__ == "TypeAliasType":  # type X = …, since Python 3.12
            return _resolve(annotation.__value__, names, function, parameter)
    except RegistrationError:
        raise
    except Exception as exc:
        raise RegistrationError(
            f"The annotation '{shown}' of {_spot(function, parameter)} cannot be resolved:"
            f" {exc}. Import what it names outside of 'if TYPE_CHECKING'."
        ) from exc
    return annotation


def _types(
    annotation: t.Any, names: dict[str, t.Any], function: t.Any, parameter: str
) -> tuple[tuple[Type[t.Any], ...], Convert | None]:
    annotation = _resolve(annotation, names, function, parameter)
    origin = t.get_origin(annotation)
    if origin is t.Annotated:
        declared = [each for each in annotation.__metadata__ if isinstance(each, Type)]
        if declared:
            return (declared[-1],), None
        return _types(t.get_args(annotation)[0], names, function, parameter)

    if origin in (t.Union, types.UnionType):
        found: list[Type[t.Any]] = []
        catch_all: Convert | None = None
        for member in t.get_args(annotation):
            types_of_member, convert = _types(member, names, function, parameter)
            found += types_of_member
            catch_all = convert or catch_all
        return tuple(found), catch_all

    if annotation is Message:
        return (), _unchanged
    if is_protobuf(annotation) and type_of(annotation).typename == ANY:
        return (), lambda message: read_message(
            message, lambda value: annotation(type_url=message.typename, value=value)
        )
    try:
        accepted = type_of(annotation)
    except TypeError as exc:
        raise RegistrationError(_without_type(annotation, function, parameter, exc)) from None
    return (accepted,), None


def _unchanged(message: Message) -> Message:
    return message


def _check_distinct(found: cabc.Iterable[Type[t.Any]], function: t.Any, parameter: str) -> None:
    """Check that no two different types of one parameter have the same typename."""
    by_typename: dict[str, Type[t.Any]] = {}
    for each in found:
        first = by_typename.setdefault(each.typename, each)
        if first != each:
            raise RegistrationError(
                f"Two types of {_spot(function, parameter)} have the typename '{each.typename}', so"
                " their messages cannot be distinguished. Give each type a typename of its own."
            )


def _check_parts(found: cabc.Iterable[Type[t.Any]], function: t.Any, parameter: str) -> None:
    """Check that every part of the types has a form that travels, as far as they are defined."""
    for each in found:
        try:
            each._check()
        except NameError:
            continue  # The check is made again before the first request.
        except RegistrationError as exc:
            raise RegistrationError(
                f"The annotation of {_spot(function, parameter)} is not allowed. {exc}"
            ) from None


def _without_type(annotation: t.Any, function: t.Any, parameter: str, exc: TypeError) -> str:
    """Return the error message for an annotation that has no type."""
    shown = getattr(annotation, "__qualname__", None) if isinstance(annotation, type) else None
    spot = _spot(function, parameter)
    if annotation is None or annotation is type(None):
        return (
            f"The annotation of {spot} includes None, but a message always has a value."
            " Remove 'None' or 'Optional'."
        )
    if annotation in (t.Any, object) and parameter != "return":
        return (
            f"The annotation '{shown or annotation}' of {spot} does not name a type. Write a type,"
            " or Message for messages of every type."
        )
    return f"The annotation of {spot} is not allowed. {exc}"


def _spot(function: t.Any, parameter: str) -> str:
    what = "the return value" if parameter == "return" else f"the parameter '{parameter}'"
    return f"{what} of '{name_of(function)}'"
