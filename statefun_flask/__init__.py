"""Stateful Functions on Apache Flink, as a Flask extension.

A name is imported when it is used. So the commands that ask a running engine, which live in this
package, do not import Flask and protobuf.
"""

from __future__ import annotations

import importlib
import typing as t

if t.TYPE_CHECKING:
    from .app import StateFunFlask as StateFunFlask
    from .blueprint import StateFunBlueprint as StateFunBlueprint
    from .core.handler import RequestHandler as RequestHandler
    from .core.log_filter import StateFunLogFilter as StateFunLogFilter
    from .core.registry import FunctionRegistry as FunctionRegistry
    from .errors import DuplicateFunctionError as DuplicateFunctionError
    from .errors import FunctionNotFoundError as FunctionNotFoundError
    from .errors import InvalidReturnError as InvalidReturnError
    from .errors import MessageTypeError as MessageTypeError
    from .errors import ProtocolError as ProtocolError
    from .errors import RegistrationError as RegistrationError
    from .errors import StateError as StateError
    from .errors import StateFunError as StateFunError
    from .errors import StateTypeError as StateTypeError
    from .errors import UnknownStateError as UnknownStateError
    from .extension import StateFun as StateFun
    from .transport import asgi_app as asgi_app
    from .transport import AsgiTransport as AsgiTransport
    from .transport import GranianTransport as GranianTransport
    from .transport import lambda_handler as lambda_handler
    from .transport import Transport as Transport
    from .transport import WaitressTransport as WaitressTransport
    from .transport import wsgi_app as wsgi_app
    from .values.address import Address as Address
    from .values.address import EgressIdentifier as EgressIdentifier
    from .values.address import FunctionType as FunctionType
    from .values.context import Context as Context
    from .values.effects import Effects as Effects
    from .values.egress import kafka_record as kafka_record
    from .values.egress import kinesis_record as kinesis_record
    from .values.egress import playground_record as playground_record
    from .values.json_types import json_type as json_type
    from .values.message import Message as Message
    from .values.state import ValueSpec as ValueSpec
    from .values.types import BOOL as BOOL
    from .values.types import BYTES as BYTES
    from .values.types import custom_type as custom_type
    from .values.types import DOUBLE as DOUBLE
    from .values.types import FLOAT as FLOAT
    from .values.types import INT as INT
    from .values.types import LONG as LONG
    from .values.types import protobuf_type as protobuf_type
    from .values.types import raw_type as raw_type
    from .values.types import STRING as STRING
    from .values.types import Type as Type
    from .values.types import utf8_type as utf8_type
else:
    _MODULES = {
        "StateFunFlask": ".app",
        "StateFunBlueprint": ".blueprint",
        "RequestHandler": ".core.handler",
        "StateFunLogFilter": ".core.log_filter",
        "FunctionRegistry": ".core.registry",
        "DuplicateFunctionError": ".errors",
        "FunctionNotFoundError": ".errors",
        "InvalidReturnError": ".errors",
        "MessageTypeError": ".errors",
        "ProtocolError": ".errors",
        "RegistrationError": ".errors",
        "StateError": ".errors",
        "StateFunError": ".errors",
        "StateTypeError": ".errors",
        "UnknownStateError": ".errors",
        "StateFun": ".extension",
        "asgi_app": ".transport",
        "AsgiTransport": ".transport",
        "GranianTransport": ".transport",
        "lambda_handler": ".transport",
        "Transport": ".transport",
        "WaitressTransport": ".transport",
        "wsgi_app": ".transport",
        "Address": ".values.address",
        "EgressIdentifier": ".values.address",
        "FunctionType": ".values.address",
        "Context": ".values.context",
        "Effects": ".values.effects",
        "kafka_record": ".values.egress",
        "kinesis_record": ".values.egress",
        "playground_record": ".values.egress",
        "json_type": ".values.json_types",
        "Message": ".values.message",
        "ValueSpec": ".values.state",
        "BOOL": ".values.types",
        "BYTES": ".values.types",
        "custom_type": ".values.types",
        "DOUBLE": ".values.types",
        "FLOAT": ".values.types",
        "INT": ".values.types",
        "LONG": ".values.types",
        "protobuf_type": ".values.types",
        "raw_type": ".values.types",
        "STRING": ".values.types",
        "Type": ".values.types",
        "utf8_type": ".values.types",
    }

    __all__ = sorted(_MODULES)

    def __getattr__(name):
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(_MODULES[name], __name__), name)
        globals()[name] = value
        return value

    def __dir__():
        return sorted({*globals(), *_MODULES})
