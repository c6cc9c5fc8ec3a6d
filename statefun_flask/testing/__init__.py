"""The test kit: an app on the embedded engine, or on StateFun with Flink and Kafka.

``app.statefun.runtime()`` and the fixture ``statefun_engine`` of the pytest plugin both return a
:class:`TestEngine`. docs/testing.md describes it.

Every pytest of the environment imports this package, because the plugin is part of it. The modules
of an engine are imported when the first engine starts.
"""

from .engine import TestEngine as TestEngine
from .engine import WaitTimeoutError as WaitTimeoutError
from .engine_pool import EnginePool as EnginePool
from .engine_pool import EngineUnavailableError as EngineUnavailableError
from .record import Record as Record
