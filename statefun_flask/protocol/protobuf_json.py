"""Protobuf's JSON mapping, for messages that people write and read."""

from __future__ import annotations

import typing as t

from google.protobuf import json_format
from google.protobuf.message import DecodeError


def parse(cls: t.Any, text: bytes) -> t.Any:
    """Return the message for a JSON text.

    :raises ValueError: The text is not the JSON of a message of that class.
    """
    try:
        return json_format.Parse(text, cls())
    except (json_format.ParseError, UnicodeDecodeError) as exc:
        raise ValueError(str(exc)) from None


def plain(message: t.Any) -> dict[str, t.Any]:
    """Return a message as a dict for JSON, with the declared names of its fields."""
    fields: dict[str, t.Any] = json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    return fields


def fits(cls: t.Any, data: bytes) -> bool:
    """Return whether bytes have only fields of a message class."""
    try:
        message = cls.FromString(data)
    except DecodeError:
        return False
    message.DiscardUnknownFields()
    written: bytes = message.SerializeToString()
    return written == data
