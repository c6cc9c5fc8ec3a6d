"""How a server's threads share a core."""

from __future__ import annotations

import contextlib
import os


def let_threads_finish() -> None:
    """Have this thread, and those it starts from now on, not interrupt each other; Linux only.

    A server hands every request from one thread to another and back. By default a thread that is
    woken interrupts the one that woke it, in the middle of the next request: two switches a request
    where the threads share a core, and a third of the CPU time of a small one. Under SCHED_BATCH
    it waits until the other has nothing to do, or its slice of a few milliseconds is over. On idle
    cores nothing changes. Where the policy cannot be set, all stays as it is.
    """
    policy = getattr(os, "SCHED_BATCH", None)
    if policy is not None and os.sched_getscheduler(0) == os.SCHED_OTHER:
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, policy, os.sched_param(0))
