"""Planning and installing do to a real tree what the model says, for any tree and any command list."""

import io
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from spkg.device import Device, LinkPolicy
from spkg.errors import RefusedError
from spkg.format.commands import Record
from spkg.install.all_or_nothing import install
from spkg.install.beneath import Resolver
from spkg.install.history import installed
from spkg.install.own_directory import working_in
from spkg.install.plan import plan_installation
from spkg.install.recovery import settle_root
from spkg.install.root import Root
from spkg.install.root_tree import RootTree
from spkg.verify.payload import Payload
from spkg.verify.signatures import verify_package
from tests.support.kit import AT, Draft, entry, policy, read
from tests.support.naive_installer import (
    PAYLOAD,
    Garden,
    Tree,
    command_lists,
    gardens,
    grown,
    interpret,
    plant,
    seen,
)
from tests.support.sampling import amount


def applied(
    records: tuple[Record, ...], path: Path, device: Device, resolver: Resolver | None
) -> Tree | None:
    """Plan and install in a real root; None where the plan is refused."""
    octets = Draft(records=records, payload=PAYLOAD).encode()
    package = read(octets)
    trusted = verify_package(package, policy(), at=AT)
    stream = io.BytesIO(octets[package.payload_offset :])
    with Root(path, resolver) as root, working_in(root):
        settle_root(root)
        try:
            planned = plan_installation(trusted, device, RootTree(root))
        except RefusedError:
            return None
        payload = Payload(stream, offset=0, length=len(PAYLOAD))
        install(planned, payload, root, entry(version="1"))
        assert installed(root) == [entry(version="1")]
    return seen(path)


@settings(max_examples=amount(3000, 40))
@given(
    garden=gardens, records=command_lists, follow=st.booleans(), resolver=st.sampled_from((None, *Resolver))
)
def test_installing_leaves_what_the_model_says(
    garden: Garden, records: tuple[Record, ...], resolver: Resolver | None, *, follow: bool
) -> None:
    wanted = interpret(records, PAYLOAD, grown(garden), follow=follow)
    device = Device(links=LinkPolicy.FOLLOW_IN_ROOT if follow else LinkPolicy.REFUSE)

    with TemporaryDirectory() as name:
        plant(garden, Path(name))
        found = applied(records, Path(name), device, resolver)
        left = seen(Path(name))
        own = {one.name for one in (Path(name) / ".spkg").iterdir()}

    assert found == wanted
    assert left == (grown(garden) if wanted is None else wanted)
    assert own == (set() if wanted is None else {"installed"})
