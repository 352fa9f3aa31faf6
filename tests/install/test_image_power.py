"""An image on its way through a handler into a partition, and the power is cut in the middle."""

import os
import subprocess
from pathlib import Path
from random import Random
from typing import Final

import pytest

from spkg.format.commands import End
from tests.support.commands import PATIENCE, PROGRAM
from tests.support.interruptions import isolated
from tests.support.kit import Draft, file
from tests.support.package_files import TRUST, furnish

pytestmark = [
    pytest.mark.part("power"),
    pytest.mark.proof,
    pytest.mark.judge("unshare", "mount", "losetup", "findmnt", "mkfs.ext4"),
]
IMAGE: Final = Random(1).randbytes(1 << 20)
STORY: Final = r"""
set -eu
truncate -s 32M flash; mkfs.ext4 -q flash; truncate -s 1M partition
mkdir mount; mount -o loop flash mount; mkdir mount/root; echo old > mount/root/release
device=$(losetup -f --show partition)
trap 'umount -l mount 2>/dev/null || true; losetup -d $device' EXIT
cat > device.toml <<END
[install]
[[install.handler]]
path = "/images/*"
command = ["/bin/sh", "$PWD/half", "$device", "$PWD"]
END
echo 'head -c 524288 | dd of="$1" bs=64k conv=fsync 2>/dev/null; : > "$2/half-way"; sleep 60' > half
setsid "$@" --root mount/root --device device.toml > /dev/null 2>&1 & installer=$!
for _ in $(seq 600); do [ -e half-way ] && break; sleep 0.1; done
[ -e half-way ]
sync -f mount; cp --sparse=always flash left     # what the device has been given by now
disown $installer; kill -9 -- -$installer; pkill -9 -f "$PWD/half" || true
umount -l mount; mount -o loop left mount         # the power comes back
"$PROGRAM" "$CLI" recover --root mount/root
cat mount/root/release; cmp -n 524288 partition image
echo 'dd of="$1" bs=64k conv=fsync 2>/dev/null' > half
"$@" --root mount/root --device device.toml
cat mount/root/release; cmp "$device" image; "$PROGRAM" "$CLI" status --root mount/root
"""
"""What a gateway goes through; the arguments are those of ``apply``."""


def test_after_a_cut_half_way_the_tree_is_the_old_one_and_the_next_run_writes_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if (reason := isolated()) is not None:
        pytest.skip(reason)
    monkeypatch.chdir(tmp_path)
    furnish()
    records = (file("/images/boot.img", IMAGE), file("/release", b"new\n", at=len(IMAGE)), End())
    Path("p.spkg").write_bytes(Draft(records=records, payload=IMAGE + b"new\n").encode())
    Path("image").write_bytes(IMAGE)
    apart = ("unshare", "-m", "--propagation", "private", "/bin/bash", "-c", STORY, "story")

    done = subprocess.run(
        [*apart, *PROGRAM, "apply", "p.spkg", *TRUST],
        env={**os.environ, "PROGRAM": PROGRAM[0], "CLI": PROGRAM[1]},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
    recovered, old, installed, new, clean = done.stdout.splitlines()[:5]
    assert recovered == (
        "mount/root: discarded an installation that had not changed anything yet; the root is clean"
    )
    assert (old, new) == ("old", "new")
    assert installed == "mount/root: installed, 2 changes"
    assert clean == "mount/root: clean"
