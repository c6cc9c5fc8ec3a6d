"""Runs a command that does not outlive the process which started it, not even a killed one.

Run as a script, ``leash.py FOLDER COMMAND…``, with a pipe as its standard input that the starting
process holds open. The script forks, and becomes the command, so that its process id is the
command's. The fork waits until the pipe closes, which the system does however a process ends;
then it kills the command and removes the folder. It imports nothing that costs time.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time


def main(folder: str, *command: str) -> None:
    """Become the command, with a fork of this process on watch."""
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
    """Wait for the pipe to say that the command is done, or for its end to say that it must be.

    The command is this process's parent, so its id cannot come to mean another process unnoticed.
    """
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    if os.read(0, 1):
        return
    while os.getppid() == pid:
        os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
