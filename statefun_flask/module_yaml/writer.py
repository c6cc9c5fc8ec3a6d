"""Writes a module in any format that can express it."""

from __future__ import annotations

import dataclasses
import datetime as dt
import typing as t

from ..values._any import wrap
from . import shapes
from . import yaml_text
from .components import ENTRIES
from .endpoint_fields import TYPE
from .fields import write_fields
from .findings import FormatError
from .io_fields import DIRECTION
from .model import Component
from .model import Extension
from .model import HttpEndpoint
from .model import KafkaIngress
from .model import KinesisIngress
from .model import Module
from .model import V2_VERSIONS
from .model import Version


def dump(module: Module, version: Version | None = None) -> str:
    """Return a module as text.

    :param version: The format; the module's own if not given.
    :raises FormatError: The format cannot express the module.
    """
    version = version or module.version
    if version == "3.1":
        return yaml_text.dump([_document(each) for each in module.components])
    spec: dict[str, list[t.Any]] = {}
    for component in module.components:
        section, entry = _entry(component, version)
        spec.setdefault(section, []).append(entry)
    top = {"version": version, "module": {"meta": {"type": "remote"}, "spec": spec}}
    return yaml_text.dump([top])


def _document(component: Component) -> dict[str, t.Any]:
    if isinstance(component, Extension):
        if component.section != "extensions":
            raise _other_section(component, "3.1")
        return {"kind": component.type, "spec": yaml_text.Raw(component.spec)}
    shape = _shape(component, "3.1")
    return {"kind": shape.kinds["3.1"], "spec": write_fields(shape.fields, component, "3.1")}


def _entry(component: Component, version: Version) -> tuple[str, dict[str, t.Any]]:
    """Return the section of a component, and its entry there."""
    if isinstance(component, Extension):
        section, type = component.section, component.type
        if section not in ENTRIES:
            raise _other_section(component, version)
        spec: t.Any = yaml_text.Raw(component.spec)
    else:
        shape = _shape(component, version)
        section, type = shape.section, shape.kinds[version]
        spec = write_fields(shape.fields, component, version)
    if section in DIRECTION:
        meta = {"type": type, "id": getattr(component, "id")}  # noqa: B009
    elif section == "routers":
        meta = {"type": type}
    else:
        meta = {"kind": type}
        if section == "functions" and isinstance(component, Extension):
            meta |= {} if component.id is None else {"type": component.id}
        elif section == "functions":
            meta |= write_fields((TYPE,), component, version)
    return section, {ENTRIES[section]: {"meta": meta, "spec": spec}}


def _shape(component: Component, version: Version) -> shapes.Shape:
    """Return the first shape of the table that fits a component.

    :raises FormatError: The format has none.
    """
    for shape in shapes.SHAPES:
        if version in shape.kinds and isinstance(component, shape.model):
            _check(component, shape, version)
            return shape
    title = next(each.title for each in shapes.SHAPES if isinstance(component, each.model))
    raise FormatError(
        f"Format {version} has no component '{title}'. Remove it, or write another format."
    )


def _check(component: Component, shape: shapes.Shape, version: Version) -> None:
    """Refuse a component that the format would lose or change."""
    if not isinstance(component, HttpEndpoint):
        return
    functions = component.functions
    states = component.states or ()
    if version in V2_VERSIONS and component.is_wildcard:
        raise FormatError(
            f"'{functions}' stands for many functions, and in format {version} each has an entry of"
            " its own. Name the functions."
        )
    if version in V2_VERSIONS and "{" in component.url:
        raise FormatError(
            f"'{component.url}' is a template, which format {version} does not have. Write the URL"
            f" of '{functions}'."
        )
    if version not in V2_VERSIONS and states:
        names = ", ".join(f"'{state.name}'" for state in states)
        raise FormatError(
            f"Format {version} does not declare states, such as {names} of '{functions}'. Declare"
            " them with the function, and convert the module."
        )
    if version == "1.0":
        for state in states:
            if state.expire_after is not None:
                raise FormatError(
                    f"The state '{state.name}' of '{functions}' expires, which format 1.0 cannot"
                    " express: it would stay for ever. Write format 2.0, which StateFun 2.2 and"
                    " later read."
                )
    wanted = shape.constants.get("transport")
    if wanted is not None and component.transport != wanted:
        raise FormatError(
            f"'{functions}' is called with the {component.transport} transport, and format"
            f" {version} has only {wanted}. Convert the module first."
        )


def _other_section(component: Extension, version: Version) -> FormatError:
    return FormatError(
        f"'{component.type}' belongs to another format, and has no known equivalent in {version}."
        " Remove it, and write its replacement by hand."
    )


def convert(module: Module, version: Version) -> Module:
    """Return a module that another format can express.

    Endpoints of formats up to 3.0 are called with OkHttp, and keep it in 3.1. Conversion to them
    drops the settings that only the async transport has. Conversion to 3.0 and 3.1 drops states,
    which functions declare there. Typenames of topics get the prefix that is usual in the format.

    :raises FormatError: The format has no equivalent of a component.
    """
    components = tuple(_converted(each, version) for each in module.components)
    made = Module(version, components, module.file)
    dump(made)
    return made


def _converted(component: Component, version: Version) -> Component:
    if isinstance(component, HttpEndpoint):
        return _converted_endpoint(component, version)
    if isinstance(component, KafkaIngress | KinesisIngress):
        topics = tuple(
            dataclasses.replace(each, value_type=value_type(each.value_type, version))
            for each in component.topics
        )
        return dataclasses.replace(component, topics=topics)
    return component


def _converted_endpoint(endpoint: HttpEndpoint, version: Version) -> HttpEndpoint:
    changes: dict[str, t.Any] = {
        "states": (endpoint.states or ()) if version in V2_VERSIONS else None
    }
    if version in V2_VERSIONS:
        changes["url"] = endpoint.url_for(endpoint.functions)
    if version != "3.1" and endpoint.transport == "async":
        names = [each.name for each in dataclasses.fields(endpoint)]
        lost = names[names.index("pool_ttl") : names.index("states")]
        changes |= dict.fromkeys(lost) | {"transport": "okhttp", "call": endpoint.call_timeout}
        if (endpoint.connect or dt.timedelta()) > endpoint.call_timeout:
            changes["connect"] = endpoint.call_timeout
        if endpoint.call_timeout < dt.timedelta(seconds=10):
            given = endpoint.connect or endpoint.call_timeout
            changes |= {
                "connect": min(given, endpoint.call_timeout),
                "read": endpoint.call_timeout,
                "write": endpoint.call_timeout,
            }
    return dataclasses.replace(endpoint, **changes)


def value_type(typename: str, version: Version) -> str:
    """Return a typename in the usual form of a format: its prefix, and the names of primitives."""
    if version in V2_VERSIONS:
        typename, _ = wrap(typename, b"")
    prefixes = ("com.googleapis/", "type.googleapis.com/")
    for prefix in prefixes:
        if typename.startswith(prefix):
            return prefixes[version not in V2_VERSIONS] + typename.removeprefix(prefix)
    return typename
