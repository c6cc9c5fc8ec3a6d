"""Routes of a module.yaml: exact names before namespaces, URLs by templates."""

from __future__ import annotations

import collections.abc as cabc
import pathlib
import ssl
import threading

from ... import module_yaml
from ..errors import UnknownEgressError
from ..errors import UnknownTargetError
from ..exchange import formats
from .remote import Remote
from .routes import EgressFormat
from .routes import FunctionEndpoint
from .routes import InProcess


class ModuleRoutes:
    """Sends messages to the endpoints of a module.yaml.

    :param local: Handles the functions of this process in place of their URL.
    :param functions: The typenames that it handles; module.yaml must have an endpoint for them all
        the same, as on Flink.
    :raises ValueError: The file is of a format that only StateFun 2.x reads.
    """

    def __init__(
        self,
        module: module_yaml.Module,
        local: cabc.Callable[[bytes], bytes] | None = None,
        functions: cabc.Iterable[str] = (),
    ) -> None:
        if module.version in ("1.0", "2.0"):
            raise ValueError(
                f"'{module.file}' is of format {module.version}, which is StateFun 2.x, and the"
                " embedded engine speaks 3.x only. Convert the file to a format of 3.x, or run it"
                " on the real engine with 'flask statefun flink' and STATEFUN_PROTOCOL='v2'."
            )
        self._module = module
        self._local = local
        self._functions = frozenset(functions) if local is not None else frozenset()
        self._endpoints: dict[str, FunctionEndpoint] = {}
        self._formats = {each.id: _format(each) for each in module.egresses}
        self._lock = threading.Lock()

    def endpoint(self, typename: str) -> FunctionEndpoint:
        """Return what serves a function type.

        :raises UnknownTargetError: Nothing does.
        """
        found = self._endpoints.get(typename)
        if found is None:
            with self._lock:
                found = self._endpoints.setdefault(typename, self._make(typename))
        return found

    def egress(self, identifier: str) -> EgressFormat:
        """Return an egress.

        :raises UnknownEgressError: There is none of that identifier.
        """
        found = self._formats.get(identifier)
        if found is None:
            known = tuple(sorted(self._formats))
            raise UnknownEgressError(identifier, known, declared=self._module.is_generated)
        return found

    def close(self) -> None:
        """Close the connections to endpoints, once nothing is called any more."""
        for endpoint in self._endpoints.values():
            if isinstance(endpoint, Remote):
                endpoint.close()

    def _make(self, typename: str) -> FunctionEndpoint:
        endpoint = self._module.endpoint_for(typename) if typename != "/" else None
        if endpoint is None:
            known = {each.functions for each in self._module.endpoints} | self._functions
            raise UnknownTargetError(typename, tuple(sorted(known)))
        batch = max(0, endpoint.max_batch)
        if self._local is not None and typename in self._functions:
            return InProcess(self._local, batch=batch)
        return Remote(
            endpoint.url_for(typename),
            batch=batch,
            timeout=endpoint.call_timeout.total_seconds(),
            connect=20.0 if endpoint.connect is None else endpoint.connect.total_seconds(),
            largest=endpoint.payload_max_bytes or 32 << 20,
            context=_tls(endpoint),
        )


def _format(egress: module_yaml.AnyEgress) -> EgressFormat:
    if isinstance(egress, module_yaml.KafkaEgress):
        return formats.KafkaFormat(egress.id, egress.largest)
    if isinstance(egress, module_yaml.KinesisEgress):
        return formats.KinesisFormat(egress.id)
    return formats.PlaygroundFormat(egress.id, frozenset(egress.topics))


def _tls(endpoint: module_yaml.HttpEndpoint) -> ssl.SSLContext | None:
    """Return what an endpoint says of certificates; None for the system's."""
    if not (endpoint.trust_cacerts or endpoint.client_cert):
        return None
    trusted = endpoint.trust_cacerts
    context = ssl.create_default_context(cafile=_file(trusted) if trusted else None)
    if endpoint.client_cert and endpoint.client_key:
        password = endpoint.client_key_password
        context.load_cert_chain(
            _file(endpoint.client_cert),
            _file(endpoint.client_key),
            pathlib.Path(_file(password)).read_text().strip() if password else None,
        )
    return context


def _file(location: str) -> str:
    return location.removeprefix("file:")
