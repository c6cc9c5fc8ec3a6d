"""Kafka topics of a module.yaml on the embedded engine; needs the extra ``[kafka]``.

Nothing else of the package imports this, or ``confluent_kafka``, unless topics are connected.
"""

from __future__ import annotations

try:
    import confluent_kafka as confluent_kafka
except ImportError:
    raise RuntimeError(
        "The Python package confluent-kafka is not installed, which reads and writes Kafka's"
        " topics. Install it with: pip install 'statefun-flask[kafka]'"
    ) from None

from .links import connect as connect
from .links import Links as Links
