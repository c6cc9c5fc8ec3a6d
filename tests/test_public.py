"""What the package exports: a name that is missing here, or there, is a change of the API."""

from __future__ import annotations

import inspect
import types

import pytest

import statefun_flask

NAMES = [
    "Address",
    "AsgiTransport",
    "BOOL",
    "BYTES",
    "Context",
    "DOUBLE",
    "DuplicateFunctionError",
    "Effects",
    "EgressIdentifier",
    "FLOAT",
    "FunctionNotFound",
    "FunctionRegistry",
    "FunctionType",
    "GranianTransport",
    "INT",
    "InvalidReturnError",
    "LONG",
    "Message",
    "MessageTypeError",
    "ProtocolError",
    "RegistrationError",
    "RequestHandler",
    "STRING",
    "StateError",
    "StateFun",
    "StateFunBlueprint",
    "StateFunError",
    "StateFunFlask",
    "StateTypeError",
    "Transport",
    "Type",
    "UTF8",
    "UnknownStateError",
    "ValueSpec",
    "WaitressTransport",
    "asgi_app",
    "custom_type",
    "json_type",
    "kafka_record",
    "kinesis_record",
    "lambda_handler",
    "playground_record",
    "protobuf_type",
    "raw_type",
    "wsgi_app",
]

SIGNATURES = {
    "Address": "(type, id)",
    "FunctionType": "(namespace, name=None, /)",
    "EgressIdentifier": "(namespace, name=None, /)",
    "Message": "(typename, value=b'', has_value=True)",
    "Context": "(self_address, caller_address=None, states=None)",
    "Context.get_state": "(self, state, type=None, /)",
    "Effects": "()",
    "Effects.send": "(self, address, message, *, type=None)",
    "Effects.send_after": "(self, address, delay, message, *, cancellation_token=None, type=None)",
    "Effects.cancel": "(self, token)",
    "Effects.egress": "(self, identifier, message, *, type=None)",
    "Effects.update_state": "(self, state, value, *, type=None)",
    "Effects.delete_state": "(self, state)",
    "Effects.extend": "(self, other)",
    "ValueSpec": "(name, type=None, *, expire_after_write=None, expire_after_call=None)",
    "FunctionRegistry": "(parent=None)",
    "FunctionRegistry.register_fn": "(self, typename, function, *, states=(), egresses=())",
    "RequestHandler": "(registry, *, watch=False, protocol='auto')",
    "StateFun": "(app=None, **options)",
    "StateFun.init_app": "(self, app)",
    "StateFun.__call__": "(self, typename, *, states=(), egresses=())",
    "StateFunBlueprint.statefun": "(self, typename, *, states=(), egresses=())",
    "kafka_record": "(topic, *, key=None, value, type=None)",
    "kinesis_record": ("(stream, *, partition_key, value, type=None, explicit_hash_key=None)"),
    "json_type": "(typename, python=None, /)",
    "protobuf_type": "(cls, *, typename=None)",
    "custom_type": "(typename, serialize, deserialize)",
    "raw_type": "(typename)",
    "UTF8": "(typename)",
}


def test_the_package_exports_exactly_these_names() -> None:
    exported = [
        name
        for name, value in vars(statefun_flask).items()
        if not name.startswith("_") and not isinstance(value, types.ModuleType)
    ]
    assert sorted(exported) == sorted(NAMES)


@pytest.mark.parametrize("path", SIGNATURES)
def test_signatures_are_as_they_were(path: str) -> None:
    value: object = statefun_flask
    for name in path.split("."):
        value = getattr(value, name)
    signature = inspect.signature(value)  # type: ignore[arg-type]
    bare = signature.replace(
        parameters=[
            each.replace(annotation=inspect.Parameter.empty)
            for each in signature.parameters.values()
        ],
        return_annotation=inspect.Signature.empty,
    )
    assert str(bare) == SIGNATURES[path]


@pytest.mark.parametrize("name", NAMES)
def test_every_exported_class_and_function_has_a_docstring(name: str) -> None:
    value = getattr(statefun_flask, name)
    if inspect.isclass(value) or inspect.isfunction(value):
        assert inspect.getdoc(value), name


@pytest.mark.parametrize(
    ("error", "bases"),
    [
        ("RegistrationError", ("StateFunError", ValueError)),
        ("DuplicateFunctionError", ("RegistrationError",)),
        ("ProtocolError", ("StateFunError", ValueError)),
        ("FunctionNotFound", ("StateFunError", LookupError)),
        ("StateError", ("StateFunError",)),
        ("UnknownStateError", ("StateError", LookupError)),
        ("StateTypeError", ("StateError", TypeError)),
        ("MessageTypeError", ("StateFunError", TypeError)),
        ("InvalidReturnError", ("StateFunError", TypeError)),
    ],
)
def test_the_tree_of_errors(error: str, bases: tuple[str | type, ...]) -> None:
    expected = tuple(
        getattr(statefun_flask, base) if isinstance(base, str) else base for base in bases
    )
    assert getattr(statefun_flask, error).__bases__ == expected
