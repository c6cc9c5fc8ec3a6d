"""Runs the code in its argument as if the operating system were not POSIX.

It removes only the parts of a POSIX system that this package uses. The libraries are imported
first, since they check ``os.name``.
"""

from __future__ import annotations

import asyncio  # noqa: F401
import os
import signal
import socket
import subprocess  # noqa: F401
import sys

import click._termui_impl  # noqa: F401
import flask  # noqa: F401
import pytest  # noqa: F401

MODULES = (
    "fcntl",
    "grp",
    "posix",
    "pty",
    "pwd",
    "readline",
    "resource",
    "syslog",
    "termios",
    "tty",
)
NAMES = {
    os: ("fork", "geteuid", "getpgid", "getuid", "kill", "killpg", "O_CLOEXEC", "pread", "pwrite",
         "register_at_fork", "setpgid", "setsid", "sysconf", "uname", "SCHED_BATCH", "SCHED_OTHER",
         "sched_getaffinity", "sched_getscheduler", "sched_param", "sched_setscheduler"),
    signal: ("SIGALRM", "SIGCHLD", "SIGHUP", "SIGKILL", "SIGQUIT", "SIGUSR1", "SIGUSR2",
             "pthread_sigmask"),
    socket: ("AF_UNIX",),
}  # fmt: skip


class _Missing:
    """Refuses the import of modules that only POSIX systems have."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name in MODULES:
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)


for name in MODULES:
    sys.modules.pop(name, None)
sys.meta_path.insert(0, _Missing())
for module, names in NAMES.items():
    for name in names:
        vars(module).pop(name, None)

exec(sys.argv[1], {"__name__": "code"})
