"""Flink with StateFun, and Kafka, on this machine and without Docker.

For tests and for ``flask statefun flink``. It needs only Java and Maven::

    with Cluster("module.yaml", kafka=True) as cluster:
        produce(cluster.kafka.bootstrap)
"""

from .cluster import Cluster as Cluster
from .errors import FlinkError as FlinkError
from .job import Job as Job
from .kafka import Kafka as Kafka
