"""Since Python 3.14 annotations are evaluated when they are read, and may name missing objects."""
# Without 'from __future__ import annotations', which makes annotations text on every version.

import functools
import sys
import typing as t

import pytest

from statefun_flask import Effects
from statefun_flask import json_type
from statefun_flask import RegistrationError
from statefun_flask.core.signature import read

if t.TYPE_CHECKING:
    from statefun_flask import Context

    class Missing: ...


pytestmark = pytest.mark.skipif(
    sys.version_info < (3, 14), reason="Python evaluates annotations at the definition"
)

LONG = "io.statefun.types/long"


def typenames(function: t.Any) -> list[str]:
    return [type.typename for type in read(function).types]


def test_the_context_may_be_imported_for_type_checkers_only() -> None:
    def function(context: Context, message: int) -> Effects:
        return Effects()

    assert typenames(function) == [LONG]
    assert typenames(functools.partial(function)) == [LONG]


def test_a_class_may_follow_the_function() -> None:
    def function(context: Context, message: int | Later) -> Effects | None:
        return None

    @json_type("test/Later")
    class Later(t.NamedTuple):
        name: str

    assert typenames(function) == [LONG, "test/Later"]
    assert read(function).returns_none


def test_a_method_is_read_like_a_function() -> None:
    class Functions:
        def method(self, context: Context, message: int) -> Effects:
            return Effects()

        def __call__(self, context: Context, message: int) -> Effects:
            return Effects()

    assert typenames(Functions().method) == [LONG]
    assert typenames(Functions()) == [LONG]


def test_a_missing_message_class_is_refused_as_it_is_written() -> None:
    def function(context: Context, message: int | Missing) -> Effects:
        return Effects()

    with pytest.raises(RegistrationError) as refused:
        read(function)

    assert str(refused.value) == (
        "The annotation 'int | Missing' of the parameter 'message' of"
        f" '{function.__qualname__}' cannot be resolved: name 'Missing' is not defined."
        " Import what it names outside of 'if TYPE_CHECKING'."
    )
