"""How the threads of a server share a core."""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import os


def use_batch_scheduling() -> bool:
    """Put this thread, and threads that it starts, under SCHED_BATCH; return whether that was done.

    A server hands every request from one thread to another and back. By default Linux lets a thread
    that wakes up interrupt the thread that woke it, in the middle of the next request: two switches
    for each request where the threads share a core, and a third of the CPU time of a small one.
    Under SCHED_BATCH it waits until the other thread has nothing to do, or has used up its slice of
    a few milliseconds. On idle cores nothing changes. Where the policy cannot be set, or another
    policy than the default is set already, nothing is done.
    """
    policy = getattr(os, "SCHED_BATCH", None)
    if policy is None or os.sched_getscheduler(0) != os.SCHED_OTHER:
        return False
    try:
        os.sched_setscheduler(0, policy, os.sched_param(0))
    except OSError:
        return False
    return True


@contextlib.contextmanager
def batch_scheduling() -> cabc.Iterator[None]:
    """Use batch scheduling for a time: the calling thread has its own policy afterwards."""
    is_set = use_batch_scheduling()
    try:
        yield
    finally:
        if is_set:
            os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
