"""A system that is not Linux, as far as names go: what others lack is gone before anything is imported.

``python elsewhere.py ARGS`` runs the program there; with ``-- ARGS`` behind them once more, unless it failed.
"""

import contextlib
import os
import select
import signal
import sys
import time

GONE = {
    os: (
        "O_CLOEXEC",
        "O_DIRECTORY",
        "O_NOFOLLOW",
        "O_NONBLOCK",
        "O_PATH",
        "O_TMPFILE",
        "chroot",
        "copy_file_range",
        "eventfd",
        "fchmod",
        "fchown",
        "fork",
        "geteuid",
        "getppid",
        "getuid",
        "lchown",
        "memfd_create",
        "mkfifo",
        "openpty",
        "posix_fallocate",
        "posix_spawn",
        "posix_spawnp",
        "pread",
        "preadv",
        "pwrite",
        "pwritev",
        "readv",
        "sched_getaffinity",
        "sendfile",
        "setsid",
        "setxattr",
        "splice",
        "statvfs",
        "sync",
        "writev",
    ),
    signal: ("SIGHUP", "SIGXFSZ", "SIGPIPE", "SIGUSR1", "pthread_sigmask", "valid_signals"),
    select: ("epoll", "poll"),
    time: ("CLOCK_BOOTTIME", "CLOCK_MONOTONIC_RAW"),
}
"""Names that Windows or macOS lack."""
MODULES = ("fcntl", "grp", "pwd", "resource", "termios")

for module, names in GONE.items():
    for name in names:
        with contextlib.suppress(AttributeError):
            delattr(module, name)
for name in MODULES:
    sys.modules[name] = None  # type: ignore[assignment]

if __name__ == "__main__":
    from spkg.__main__ import main

    words = sys.argv[1:]
    while words:
        end = words.index("--") if "--" in words else len(words)
        called, words = words[:end], words[end + 1 :]
        try:
            main(called, prog_name="spkg")
        except SystemExit as exc:
            if exc.code:
                raise
