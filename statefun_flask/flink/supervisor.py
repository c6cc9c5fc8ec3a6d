"""Runs a command, and kills it when the process that started it ends, even if that was killed.

This module runs as a script, ``supervisor.py FOLDER COMMAND…``. Its standard input is a pipe, which
the starting process holds open. The script forks and then becomes the command, so the command has
the script's process id. The fork, the supervisor, waits until the pipe closes, which happens
however the starting process ends. Then it kills the command and removes the folder. If the output
of the command is a file, the supervisor limits its size in the meantime. The script imports nothing
that takes long.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import stat
import sys
import time

#: A log that is longer than this is truncated, in bytes.
MAX_LOG_BYTES = 16 << 20
#: The length of the end of a log that is kept, in bytes.
KEPT_LOG_BYTES = 1 << 20
#: The time between two checks of the size of a log, in seconds.
CHECK_INTERVAL = 2.0


def main(folder: str, *command: str) -> None:
    """Become the command, which a fork of this process supervises."""
    pid = os.getpid()
    if os.fork() == 0:
        supervise(pid, folder)
        os._exit(0)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    try:
        os.execvp(command[0], command)
    except OSError as exc:
        sys.exit(f"{command[0]}: {exc.strerror}")


def supervise(pid: int, folder: str) -> None:
    """Kill the command and remove the folder when the pipe closes.

    A byte in the pipe says that the command has ended already. The command is the parent of this
    process, so a new process cannot get the id unnoticed.
    """
    log = os.dup(1)
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    interval = CHECK_INTERVAL if stat.S_ISREG(os.fstat(log).st_mode) else None
    while not select.select([0], [], [], interval)[0]:
        truncate(log)
    if os.read(0, 1):
        return
    while os.getppid() == pid:
        os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)
    shutil.rmtree(folder, ignore_errors=True)


def truncate(log: int) -> None:
    """Keep only the end of a log that is longer than the limit.

    The command continues at the new end, because the log is open for appending. Lines that it
    writes while this function runs are lost.
    """
    size = os.fstat(log).st_size
    if size <= MAX_LOG_BYTES:
        return
    end = os.pread(log, KEPT_LOG_BYTES, size - KEPT_LOG_BYTES)
    os.ftruncate(log, 0)
    os.write(log, end)


if __name__ == "__main__":
    main(*sys.argv[1:])
