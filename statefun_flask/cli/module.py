"""``flask statefun module``: module.yaml, generated from the app."""

from __future__ import annotations

import collections.abc as cabc
import pathlib
import shlex
import typing as t
import urllib.parse

import click
from click.core import ParameterSource
from flask import current_app
from flask.cli import with_appcontext

from ..module_yaml import dump
from ..module_yaml import FormatError
from ..module_yaml import load
from ..module_yaml import Module
from ..module_yaml import ModuleError
from ..module_yaml import read
from ..module_yaml.generate import generate
from ..module_yaml.generate import Request
from ..module_yaml.model import Version
from ..values.address import check_typename
from ..values.types import BUILTIN

#: The formats by the values of the option.
FORMATS: dict[str, Version] = {"3": "3.1", "3.0": "3.0", "2.0": "2.0", "1.0": "1.0"}


def _ingresses(
    ctx: click.Context, option: click.Parameter, values: tuple[str, ...]
) -> tuple[tuple[str, str, str | None], ...]:
    """Return topics, functions and typenames."""
    found = []
    for value in values:
        topic, equals, rest = value.partition("=")
        target, colon, typename = rest.partition(":")
        if not (topic and equals) or (colon and not typename):
            raise click.BadParameter(
                f"'{value}' is not a topic and a function. Write TOPIC=namespace/name."
            )
        found.append((topic, _name(target), typename or None))
    return tuple(found)


def _egresses(
    ctx: click.Context, option: click.Parameter, values: tuple[str, ...]
) -> tuple[str, ...]:
    """Return the names of egresses."""
    return tuple(map(_name, values))


def _name(text: str) -> str:
    try:
        check_typename(text)
    except ValueError as exc:
        raise click.BadParameter(str(exc)) from None
    return text


@click.command(
    "module",
    short_help="Write module.yaml from the app.",
    epilog="Example: flask --app greeter statefun module --kafka broker:9092",
)
@click.option(
    "--format",
    "output",
    type=click.Choice(list(FORMATS)),
    default="3",
    show_default=True,
    help="3 for StateFun 3.1 and later, 3.0, and 2.0 or 1.0 for StateFun 2.x.",
)
@click.option(
    "--endpoint",
    metavar="URL",
    help="The app's URL for the runtime; without a path, STATEFUN_URL is added."
    "  [default: http://127.0.0.1:5000]",
)
@click.option("--kafka", metavar="HOST:PORT", help="The brokers of ingresses and egresses.")
@click.option(
    "--ingress",
    "ingresses",
    callback=_ingresses,
    metavar="TOPIC=FUNCTION[:TYPENAME]",
    multiple=True,
    help="Send a topic's records to a function, as its message type or TYPENAME. Repeatable.",
)
@click.option(
    "--egress",
    "egresses",
    callback=_egresses,
    metavar="NAMESPACE/NAME",
    multiple=True,
    help="Add this egress to those that functions declare. Repeatable.",
)
@click.option("--group", help="The consumer group.  [default: the app's name]")
@click.option("--exactly-once", is_flag=True, help="Write records in Kafka transactions.")
@click.option(
    "--from",
    "old",
    metavar="FILE",
    help="Keep the other components of this module file, which may be of any format.",
)
@click.pass_context
@with_appcontext
def module(
    ctx: click.Context,
    output: str,
    endpoint: str | None,
    kafka: str | None,
    ingresses: tuple[tuple[str, str, str | None], ...],
    egresses: tuple[str, ...],
    group: str | None,
    exactly_once: bool,
    old: str | None,
) -> None:
    """Write a module.yaml that fits the app to standard output."""
    statefun = current_app.extensions["statefun"]
    try:
        made = generate(
            statefun.registry,
            Request(
                version=FORMATS[output],
                url=_url(endpoint or "http://127.0.0.1:5000", statefun.settings.url),
                url_is_given=endpoint is not None,
                kafka=kafka,
                ingresses=ingresses,
                egresses=egresses,
                group=group or current_app.name,
                exactly_once=exactly_once,
                old=load(pathlib.Path(old)) if old else None,
            ),
        )
        comment = [f"Made by: {command(ctx)}", *_notes(made)]
        text = "".join(f"# {line}\n" for line in comment) + dump(made)
    except (FormatError, ModuleError) as exc:
        raise click.ClickException(str(exc)) from None
    if not made.egresses:
        click.echo(
            "No function declares an egress, and module.yaml has none. A function that writes"
            ' records needs egresses=["namespace/name"] at its registration, or --egress here.',
            err=True,
        )
    # The options, such as brokers without a port, are checked as part of the file.
    wrong = [f"{finding.text} {finding.fix}" for finding in read(text).errors]
    if wrong:
        raise click.ClickException("\n".join(dict.fromkeys(wrong)))
    click.echo(text, nl=False)


def _notes(module: Module) -> cabc.Iterator[str]:
    """Yield notes for the programs that write to the topics."""
    for ingress in module.ingresses:
        for topic in ingress.topics:
            if topic.value_type.startswith(BUILTIN) or "/google.protobuf." in topic.value_type:
                yield (
                    f"The records of '{topic.topic}' must be protobuf's wrapper of a value;"
                    " utf8_type types are for plain text."
                )


def _url(endpoint: str, path: str) -> str:
    parts = urllib.parse.urlsplit(endpoint)
    return endpoint if parts.path.strip("/") else endpoint.rstrip("/") + path


def command(ctx: click.Context) -> str:
    """Return the command with the options that were given."""
    words = ["flask", "statefun", str(ctx.info_name)]
    for parameter in ctx.command.params:
        name = str(parameter.name)
        if ctx.get_parameter_source(name) is not ParameterSource.COMMANDLINE:
            continue
        value, option = ctx.params[name], parameter.opts[0]
        if value is True:
            words.append(option)
            continue
        for each in value if parameter.multiple else [value]:
            words += [option, _written(each)]
    return shlex.join(words)


def _written(value: t.Any) -> str:
    if isinstance(value, tuple):
        topic, target, typename = value
        return f"{topic}={target}" + (f":{typename}" if typename else "")
    return str(value)
