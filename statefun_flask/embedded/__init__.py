"""The embedded engine: a StateFun runtime in one Python process, for development.

It exchanges bytes with functions and does not import Flask. See :class:`Engine`.
"""

from __future__ import annotations

from .clock import RealClock as RealClock
from .clock import VirtualClock as VirtualClock
from .control import Control as Control
from .egress import Sink as Sink
from .endpoints.remote import Remote as Remote
from .endpoints.routes import InProcess as InProcess
from .endpoints.routes import LocalRoutes as LocalRoutes
from .engine import Engine as Engine
from .engine import EngineState as EngineState
from .engine import Status as Status
from .records import EgressRecord as EgressRecord
from .store import MemoryStore as MemoryStore
from .store import open_store as open_store
from .store import SqliteStore as SqliteStore
from .store import Store as Store
