"""Runs a command that ends with the process that started it, even if that process is killed.

Run as a script, ``leash.py FOLDER COMMAND…``, with a pipe as its standard input that the starting
process holds open. The script forks and then becomes the command, so that the command has its
process id. The fork waits until the pipe closes, which happens however the starting process ends;
then it kills the command and removes the folder. Until then it limits the size of the command's
output file. The script imports only modules that load fast.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import stat
import sys
import time

#: The size at which a log is cut, and the size that is kept of its end, in bytes.
LIMIT = 16 << 20
KEPT = 1 << 20
#: The time between two checks of the size of a log, in seconds.
PAUSE = 2.0


def main(folder: str, *command: str) -> None:
    """Become the command, and watch it from a fork of this process."""
    pid = os.getpid()
    if os.fork() == 0:
        watch(pid, folder)
        os._exit(0)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    try:
        os.execvp(command[0], command)
    except OSError as exc:
        sys.exit(f"{command[0]}: {exc.strerror}")


def watch(pid: int, folder: str) -> None:
    """Wait for a byte in the pipe, which means that the command ended. Kill it if the pipe closes.

    The command is the parent of this process, so another process cannot get its id unnoticed.
    """
    log = os.dup(1)
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    pause = PAUSE if stat.S_ISREG(os.fstat(log).st_mode) else None
    while not select.select([0], [], [], pause)[0]:
        cut(log)
    if os.read(0, 1):
        return
    while os.getppid() == pid:
        os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)
    shutil.rmtree(folder, ignore_errors=True)


def cut(log: int) -> None:
    """Keep only the end of a log that is longer than the limit.

    The command continues at the new end, because the log is open for appending. Lines that are
    written at this moment are lost.
    """
    size = os.fstat(log).st_size
    if size <= LIMIT:
        return
    end = os.pread(log, KEPT, size - KEPT)
    os.ftruncate(log, 0)
    os.write(log, end)


if __name__ == "__main__":
    main(*sys.argv[1:])
