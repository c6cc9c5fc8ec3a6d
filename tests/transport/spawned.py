"""The app of served.py in a process that spawns its workers."""

from __future__ import annotations

import multiprocessing

from served import app as app

multiprocessing.set_start_method("spawn", force=True)
