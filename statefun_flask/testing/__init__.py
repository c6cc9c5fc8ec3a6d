"""Tests of an app that run on either engine: the embedded one, or Flink with Kafka.

The pytest plugin hands an :class:`Engine` to tests, see docs/testing.md. It comes with the package.
"""

from .engine import Engine as Engine
from .engine import NothingCame as NothingCame
from .engine import Record as Record
from .engines import Engines as Engines
from .engines import Unavailable as Unavailable
