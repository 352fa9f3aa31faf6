"""Planning and installing do to a real tree what the model says, for any tree and any command list."""

import io
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from spkg.commands import Record
from spkg.device import Device, Links
from spkg.errors import RefusedError
from spkg.installation import install, installed, recover, working_in
from spkg.payload import Payload
from spkg.planning import plan
from spkg.root import Resolver, Root
from spkg.tree import RootTree
from spkg.verification import verify
from tests.kit import AT, Draft, entry, policy, read
from tests.model import PAYLOAD, Garden, Tree, command_lists, gardens, grown, interpret, plant, seen
from tests.support.sampling import amount


def applied(
    records: tuple[Record, ...], path: Path, device: Device, resolver: Resolver | None
) -> Tree | None:
    """Plan and install in a real root; None where the plan is refused."""
    octets = Draft(records=records, payload=PAYLOAD).encode()
    package = read(octets)
    trusted = verify(package, policy(), at=AT)
    stream = io.BytesIO(octets[package.payload_offset :])
    with Root(path, resolver) as root, working_in(root):
        recover(root)
        try:
            planned = plan(trusted, device, RootTree(root))
        except RefusedError:
            return None
        payload = Payload(stream, offset=0, length=len(PAYLOAD))
        install(planned, payload, root, entry(version="1"))
        assert installed(root) == [entry(version="1")]
    return seen(path)


@settings(max_examples=amount(3000, 75))
@given(
    garden=gardens, records=command_lists, follow=st.booleans(), resolver=st.sampled_from((None, *Resolver))
)
def test_installing_leaves_what_the_model_says(
    garden: Garden, records: tuple[Record, ...], resolver: Resolver | None, *, follow: bool
) -> None:
    wanted = interpret(records, PAYLOAD, grown(garden), follow=follow)
    device = Device(links=Links.FOLLOW_IN_ROOT if follow else Links.REFUSE)

    with TemporaryDirectory() as name:
        plant(garden, Path(name))
        found = applied(records, Path(name), device, resolver)
        left = seen(Path(name))
        own = {one.name for one in (Path(name) / ".spkg").iterdir()}

    assert found == wanted
    assert left == (grown(garden) if wanted is None else wanted)
    assert own == (set() if wanted is None else {"installed"})
