"""The program as a command that is there at once: loaded once, and forked for each call.

Where the start is not what is tested, this saves a fifth of a second of each call.  The command hands its
words, environment, directory and files to the process that waits for it:

    python -m tests.support.ready_program SOCKET

It is for scripts that let each command come to its end: signals are not passed on.
"""

import atexit
import json
import os
import pkgutil
import shlex
import signal
import socket
import subprocess
import sys
import time
from functools import cache
from importlib import import_module
from pathlib import Path
from select import select
from tempfile import TemporaryDirectory
from typing import Final, NoReturn

from cli import main as program

__all__ = ["ready_program"]

ROOT: Final = Path(__file__).parents[2]
LONGEST: Final = 1 << 17
"""More octets than the words and the environment of a test have."""
SERVER: Final = (sys.executable, "-m", "tests.support.ready_program")
CALL: Final = """
import _socket, sys
from posix import environ, getcwdb
said = [[one.hex() for one in part] for part in (
    [one.encode("utf-8", "surrogateescape") for one in sys.argv[2:]],
    [name + b"=" + value for name, value in environ.items()],
    [getcwdb()],
)]
at = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
at.connect(sys.argv[1])
files = b"".join(one.to_bytes(4, sys.byteorder) for one in range(3))
at.sendmsg([repr(said).replace("'", '"').encode()], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, files)])
sys.exit(int(at.recv(10) or b"70"))
"""
"""The command: no more of Python than that."""


@cache
def ready_program() -> Path:
    """Return a directory with the command ``spkg`` of this checkout; it is there until this process ends."""
    kept = TemporaryDirectory()
    place, command, call = (Path(kept.name, name) for name in ("socket", "spkg", "call.py"))
    call.write_text(CALL)
    words = shlex.join([sys.executable, "-I", "-S", str(call), str(place)])
    command.write_text(f'#!/bin/sh\nexec {words} "$@"\n')
    command.chmod(0o755)
    server = subprocess.Popen([*SERVER, str(place)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert server.stdin is not None
    assert server.stdout is not None
    assert server.stdout.readline() == b"ready\n"
    atexit.register(kept.cleanup)
    atexit.register(server.communicate)
    return Path(kept.name)


def serve(place: str) -> None:
    """Run the program for each call, in a process of its own."""
    for name in ("spkg", "vouchers"):
        for found in pkgutil.walk_packages([str(ROOT / name)], f"{name}."):
            import_module(found.name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the processes
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listening:
        listening.bind(place)
        listening.listen()
        print("ready", flush=True)
        while select([listening, sys.stdin], [], [])[0] == [listening]:  # until the standard input ends
            called, _ = listening.accept()
            with called:
                if os.fork() == 0:
                    listening.close()
                    answer(called)


def answer(called: socket.socket) -> NoReturn:
    """Run the program as it was called, and say how it ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    octets, files, _, _ = socket.recv_fds(called, LONGEST, 3)
    words, variables, (directory,) = ([bytes.fromhex(one) for one in part] for part in json.loads(octets))
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environb.update((name, value) for name, _, value in (one.partition(b"=") for one in variables))
    time.tzset()
    os.chdir(directory)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - until the process ends
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
    status: object = 70
    try:
        program([os.fsdecode(one) for one in words], prog_name="spkg")
        status = 0
    except SystemExit as exc:
        status = exc.code or 0
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        called.send(str(status if isinstance(status, int) else 1).encode())
        os._exit(0)


if __name__ == "__main__":
    serve(sys.argv[1])
