"""A system that is not Linux, as far as names go: what others lack is gone before anything is imported.

``python elsewhere.py ARGS`` runs the program there.
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

    main(sys.argv[1:], prog_name="spkg")
