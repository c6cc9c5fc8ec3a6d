"""Kafka topics of a module.yaml on the embedded engine. Needs the extra ``[kafka]``.

The package imports this module and ``confluent_kafka`` only when topics are connected.
"""

from __future__ import annotations

try:
    import confluent_kafka as confluent_kafka
except ImportError:
    raise RuntimeError(
        "The Python package confluent-kafka, which reads and writes Kafka topics, is not installed."
        " Install it with: pip install 'statefun-flask[kafka]'"
    ) from None

from .links import connect as connect
from .links import Links as Links
