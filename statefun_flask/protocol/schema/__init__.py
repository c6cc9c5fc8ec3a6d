"""The protobuf messages of the protocols; ``protobuf/generate.py`` generates the other modules.

The messages have a descriptor pool of their own. Other SDKs register files of the same names in the
default pool, where a second definition is an import error.
"""

from __future__ import annotations

import importlib.resources
import typing as t

from google.protobuf import descriptor_pb2
from google.protobuf import descriptor_pool
from google.protobuf import message_factory
from google.protobuf.message import DecodeError as DecodeError

_POOL = descriptor_pool.DescriptorPool()


def load(stem: str) -> dict[str, t.Any]:
    """Return the top-level message classes of ``<stem>.proto`` by name."""
    data = importlib.resources.files(__name__).joinpath(f"{stem}.binpb").read_bytes()

    for file in descriptor_pb2.FileDescriptorSet.FromString(data).file:
        _POOL.AddSerializedFile(file.SerializeToString())

    messages = _POOL.FindFileByName(f"{stem}.proto").message_types_by_name
    return {name: _class(each) for name, each in messages.items()}


def _class(descriptor: t.Any) -> t.Any:
    """Return the class of a message, with the classes of nested messages as attributes.

    The pure-Python implementation of protobuf does not set these attributes.
    """
    made = message_factory.GetMessageClass(descriptor)
    for nested in descriptor.nested_types:
        if not hasattr(made, nested.name):
            setattr(made, nested.name, _class(nested))
    return made
