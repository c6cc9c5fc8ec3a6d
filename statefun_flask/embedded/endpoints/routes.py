"""Where messages and records go: the engine asks a :class:`Routes` for endpoints and egresses."""

from __future__ import annotations

import collections.abc as cabc
import typing as t

from ...values.message import Message
from ..errors import UnknownEgressError
from ..errors import UnknownTargetError
from ..exchange import formats


class FunctionEndpoint(t.Protocol):
    """What answers the requests of a function type."""

    name: str
    #: How often a message is tried that fails on its own.
    tries: int
    #: How many messages a request may have; 0 for any number.
    batch: int

    def __call__(self, body: bytes, /) -> bytes:
        """Answer a ToFunction with a FromFunction. Called from several threads at once.

        :raises EndpointDownError: It cannot answer now. Any other exception is about the request.
        """


class EgressFormat(t.Protocol):
    """What an egress takes, and how a record of it is read."""

    def read(self, message: Message) -> formats.RecordContent:
        """Return a record's topic, key and value.

        :raises ValueError: The egress cannot write it.
        """


class Routes(t.Protocol):
    """Finds endpoints and egresses by their names."""

    def endpoint(self, typename: str) -> FunctionEndpoint:
        """Return what serves a function type.

        :raises UnknownTargetError: Nothing does.
        """

    def egress(self, identifier: str) -> EgressFormat:
        """Return an egress.

        :raises UnknownEgressError: There is none of that identifier.
        """

    def close(self) -> None:
        """Let go of the connections to endpoints. The engine that has ended does so."""


class InProcess:
    """An endpoint in this process.

    An exception that it raises is the function's, so that a message is not tried again.

    :param handle: Bytes to bytes, such as a :class:`~statefun_flask.RequestHandler`.
    """

    tries = 1

    def __init__(
        self, handle: cabc.Callable[[bytes], bytes], *, batch: int = 1000, name: str = "in process"
    ) -> None:
        self.name = name
        self.batch = batch
        self._handle = handle

    def __call__(self, body: bytes, /) -> bytes:
        """Answer a ToFunction. Raises what the function raises."""
        return self._handle(body)


class LocalRoutes:
    """All functions in this process, and the egresses that they declare, without a module.yaml.

    :param functions: The typenames that exist; None to send every message to the endpoint.
    :param egresses: The identifiers of the egresses that exist; None for every identifier.
    """

    def __init__(
        self,
        endpoint: FunctionEndpoint,
        functions: cabc.Iterable[str] | None = None,
        egresses: cabc.Iterable[str] | None = None,
    ) -> None:
        self._endpoint = endpoint
        self._functions = None if functions is None else frozenset(functions)
        self._known = None if egresses is None else frozenset(egresses)
        self._egresses: dict[str, EgressFormat] = {}

    def endpoint(self, typename: str) -> FunctionEndpoint:
        """Return the one endpoint.

        :raises UnknownTargetError: The function does not exist.
        """
        if self._functions is None:
            if typename == "/":
                raise UnknownTargetError(typename)
        elif typename not in self._functions:
            raise UnknownTargetError(typename, tuple(sorted(self._functions)))
        return self._endpoint

    def egress(self, identifier: str) -> EgressFormat:
        """Return an egress that takes everything.

        :raises UnknownEgressError: The egress is not among those that exist.
        """
        found = self._egresses.get(identifier)
        if found is None:
            if self._known is not None and identifier not in self._known:
                raise UnknownEgressError(identifier, tuple(sorted(self._known)), declared=True)
            found = self._egresses[identifier] = formats.AnyFormat(identifier)
        return found

    def close(self) -> None:
        """There is nothing to let go of."""
