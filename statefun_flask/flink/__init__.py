"""The real engine on this machine without Docker: Flink with StateFun, and Kafka.

For tests and for ``flask statefun flink``. It needs Java and Maven, nothing else::

    with Cluster("module.yaml", kafka=True) as cluster:
        produce(cluster.kafka.bootstrap)
"""

from .cluster import Cluster as Cluster
from .errors import EngineError as EngineError
from .job import Job as Job
from .kafka import Kafka as Kafka
