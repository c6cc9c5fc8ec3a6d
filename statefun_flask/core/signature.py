"""Which messages a function takes, read from its annotations once, when it is registered."""

from __future__ import annotations

import collections.abc as cabc
import inspect
import sys
import types
import typing as t

from ..errors import RegistrationError
from ..values.message import ANY
from ..values.message import Message
from ..values.types import is_protobuf
from ..values.types import Type
from ..values.types import type_of
from ..values.types import WAYS

#: Makes a function's argument of a message.
Take: t.TypeAlias = cabc.Callable[[Message], t.Any]


class Signature(t.NamedTuple):
    """What a function's annotations say.

    :param types: The types it decodes, in the order they are written.
    :param catch_all: How it takes any other message, or None when it does not.
    :param returns_none: Its return annotation includes None.
    """

    types: tuple[Type[t.Any], ...]
    catch_all: Take | None
    returns_none: bool


def read(function: t.Any, namespace: cabc.Mapping[str, t.Any] | None = None) -> Signature:
    """Read a function's annotations.

    :param namespace: The local names where the function is registered; an annotation may need
        them when it is text.
    :raises RegistrationError: It is no function of two parameters, or its messages have no type.
    """
    target = _target(function)
    parameter = _second_parameter(function)
    annotations = _annotations(target)
    names = _names(target, namespace or {})

    annotation = _resolve(annotations.get(parameter, Message), names, function, parameter)
    returned = _resolve(annotations.get("return", object), names, function, "return")
    found, catch_all = _types(annotation, names, function, parameter)
    return Signature(found, catch_all, returned is None or type(None) in t.get_args(returned))


def name_of(function: t.Any) -> str:
    """Return a function's qualified name for messages and listings."""
    named = getattr(function, "func", function)  # a partial has no name of its own
    return getattr(named, "__qualname__", None) or type(named).__qualname__


def _target(function: t.Any) -> t.Any:
    """Return the plain function behind a method, a wrapper or a callable object."""
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
    """Return the names that a function's textual annotations may use.

    Its closure and globals come before the names of the place where it is registered, unless that
    is the function that defines it: there a local class shadows a global one, as everywhere.
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
    """Return what an annotation stands for, when it is text or an alias."""
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
) -> tuple[tuple[Type[t.Any], ...], Take | None]:
    annotation = _resolve(annotation, names, function, parameter)
    origin = t.get_origin(annotation)
    if origin is t.Annotated:
        declared = [each for each in annotation.__metadata__ if isinstance(each, Type)]
        if declared:
            return (declared[-1],), None
        return _types(t.get_args(annotation)[0], names, function, parameter)

    if origin in (t.Union, types.UnionType):
        found: list[Type[t.Any]] = []
        catch_all: Take | None = None
        for member in t.get_args(annotation):
            types_of_member, takes = _types(member, names, function, parameter)
            found += types_of_member
            catch_all = takes or catch_all
        return tuple(found), catch_all

    if annotation is Message:
        return (), _as_it_is
    if is_protobuf(annotation) and type_of(annotation).typename == ANY:
        return (), lambda message: message.read(
            lambda value: annotation(type_url=message.typename, value=value)
        )
    try:
        return (type_of(annotation),), None
    except TypeError:
        raise RegistrationError(_refusal(annotation, function, parameter)) from None


def _as_it_is(message: Message) -> Message:
    return message


def _refusal(annotation: t.Any, function: t.Any, parameter: str) -> str:
    shown = getattr(annotation, "__qualname__", None) if isinstance(annotation, type) else None
    spot = _spot(function, parameter)
    if annotation is None or annotation is type(None):
        return (
            f"The annotation of {spot} includes None, but a message always has a value."
            " Remove 'None' or 'Optional'."
        )
    if annotation in (t.Any, object) and parameter != "return":
        return (
            f"The annotation '{shown or annotation}' of {spot} does not say how to read a message."
            " Write Message to take messages of every type as they are, or a type."
        )
    if t.get_origin(annotation) or t.is_typeddict(annotation):
        return (
            f"The annotation '{shown or annotation}' of {spot} has no typename."
            f" Write Annotated[{shown or annotation}, json_type('namespace/name', …)]."
        )
    return f"The annotation '{shown or annotation}' of {spot} has no StateFun type. {WAYS}"


def _spot(function: t.Any, parameter: str) -> str:
    what = "the return value" if parameter == "return" else f"the parameter '{parameter}'"
    return f"{what} of '{name_of(function)}'"
