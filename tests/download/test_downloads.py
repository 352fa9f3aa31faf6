"""Installing while it arrives: every cut, every lie, and what is left of each."""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from time import monotonic
from typing import Any, Final

import pytest
from click.testing import CliRunner

from cli import main
from spkg.download import client
from spkg.download import stream as arrival_module
from spkg.download import worker as downloader
from spkg.download.client import Download, download
from spkg.download.fetch import fetch_package
from spkg.download.stream import open_arrival
from spkg.download.timeouts import Timeouts
from spkg.download.url import Location, Login
from spkg.errors import FailedError, SpkgError, TransferError, UnsafeError, UntrustedError
from spkg.format.commands import End, Remove, UnrecoverableTimeout, Version
from spkg.format.installation_state import InstallationState
from spkg.format.paths import RootPath
from spkg.install import in_place as inplace
from spkg.install.aftermath import aftermath
from spkg.install.applied import Applied, ApplyRequest
from spkg.install.apply import apply
from spkg.install.checkpoint import load_checkpoint
from spkg.install.history import installed
from spkg.install.recovery import recover_in
from spkg.install.root import Root
from spkg.install.status import root_state, staged_package
from spkg.verify.contents import check_payload
from spkg.verify.payload import open_package
from spkg.verify.signatures import verify_package
from tests.support.fake_servers import Script, nobody, serving
from tests.support.kit import AT, Draft, file, policy, read
from tests.support.namespaces import isolated
from tests.support.planted_tree import OLD, plant, tree
from tests.support.sampling import PROOF, few, sample

P = RootPath.of
ONE, TWO, THREE = b"one" * 100, b"two" * 150, b"three" * 50
PACKAGE: Final = Draft(
    records=(
        Version(text="1"),
        file("/one", ONE),
        Remove(path=P("/keep")),
        file("/two", TWO, at=len(ONE)),
        file("/copy", ONE),
        file("/empty", b"", at=len(ONE)),
        file("/three", THREE, at=len(ONE) + len(TWO)),
        End(),
    ),
    payload=ONE + TWO + THREE,
)
OCTETS: Final = PACKAGE.encode()
FRONT: Final = len(PACKAGE.front)
FILES: Final = {"one": ONE, "two": TWO, "copy": ONE, "empty": b"", "three": THREE}
NEW: Final = {name: contents for name, contents in {**OLD, **FILES}.items() if name != "keep"}
ANYHOW: Final = ApplyRequest(device=None, when="then")
IN_PLACE: Final = ApplyRequest(device=None, when="then", in_place=True, unsafe_streaming=True)
SHORT: Final = Timeouts(initial=1.5, recoverable=1.5, unrecoverable=1.5)
PATIENT: Final = Timeouts(initial=30, activity=30)


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have nobody wait before a server is asked again."""
    monkeypatch.setattr(downloader, "FIRST_PAUSE", 0)


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a server asked some times until a timeout ends it, and not as often as it can answer."""
    monkeypatch.setattr(downloader, "FIRST_PAUSE", 0.05)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    plant(tmp_path / "root")
    return tmp_path / "root"


@contextmanager
def arriving(url: str, timeouts: Timeouts = PATIENT, **more: Any) -> Iterator[Download]:
    with download(Location.parse(f"{url}/p.spkg"), Login(), monotonic, timeouts, **more) as arrival:
        yield arrival


def do(
    url: str, place: Path, request: ApplyRequest = ANYHOW, timeouts: Timeouts = PATIENT, **more: Any
) -> Applied:
    """Apply a package from a server."""
    size = more.pop("size", 0)
    with (
        arriving(url, timeouts, size=size) as arrival,
        open_arrival(arrival) as (opened, payload),
        Root(place) as root,
    ):
        trusted = verify_package(opened, policy(), at=AT)
        return apply(trusted, payload, root, request, **more)


def state_of(place: Path) -> str:
    with Root(place) as root:
        return root_state(root)[0].value


EDGES: Final = (FRONT - 1, FRONT, FRONT + 1, FRONT + 299, FRONT + 300, len(OCTETS) - 1)
EVERYWHERE: Final = range(len(OCTETS) + 1)
"""Where downloads are cut in the proof."""
KINDS: Final = {(ANYHOW, True): 0, (ANYHOW, False): 1, (IN_PLACE, True): 2, (IN_PLACE, False): 3}
"""The kinds of download, which share the places of each tag, so that all have their turn."""
SOMEWHERE: Final = (0, len(OCTETS) // 3, *EDGES)
"""Where they are cut in the short suite."""


@pytest.mark.part("downloads")
@pytest.mark.parametrize("request_", [ANYHOW, IN_PLACE], ids=["all or nothing", "in place"])
@pytest.mark.parametrize("etag", ['"1"', 'W/"1"', None], ids=["strong", "weak", "no tag"])
@pytest.mark.parametrize("length", [True, False], ids=["length", "no length"])
def test_a_download_that_is_cut_anywhere_goes_on_to_its_end(
    request_: ApplyRequest,
    etag: str | None,
    length: bool,  # noqa: FBT001 - a parameter of pytest
    tmp_path: Path,
    record_property: Any,
) -> None:
    kind = KINDS[request_, length]
    places = sample(EVERYWHERE[kind :: len(KINDS)], every=1) if PROOF else SOMEWHERE[kind::4]
    for number, cut in enumerate(places):
        plant(place := tmp_path / str(number))
        with serving(script := Script(octets=OCTETS, etag=etag, length=length, cuts=[cut])) as url:
            do(url, place, request_)

        assert tree(place) == NEW
        assert state_of(place) == "clean"
        resumed = [f"bytes={cut}-"] if etag == '"1"' and cut else [None]
        whole = cut == len(OCTETS) or (length and cut == len(OCTETS))
        assert script.ranged == [None] if whole else script.ranged[:2] == [None, *resumed]
    record_property("cuts", len(places))


def test_with_each_tag_each_octet_has_its_turn() -> None:
    taken = [place for kind in KINDS.values() for place in EVERYWHERE[kind :: len(KINDS)]]

    assert sorted(taken) == list(EVERYWHERE)


def partial(start: int, **changed: str | None) -> tuple[int, dict[str, str], bytes]:
    """Return the answer to a range from an octet on, with other headers."""
    headers = {"Content-Range": f"bytes {start}-{len(OCTETS) - 1}/{len(OCTETS)}", "ETag": '"1"'}
    kept = {name: value for name, value in {**headers, **changed}.items() if value is not None}
    return 206, kept, OCTETS[start:]


def refusal(status: int, **headers: str) -> Callable[[int], tuple[int, dict[str, str], bytes]]:
    return lambda _start: (status, headers, b"")


UNUSABLE: Final = {
    "an earlier octet": lambda start: partial(start - 1),
    "a later octet": lambda start: partial(start + 1),
    "another tag": lambda start: partial(start, ETag='"2"'),
    "a weak tag": lambda start: partial(start, ETag='W/"1"'),
    "no range": lambda start: partial(start, **{"Content-Range": None}),
    "another unit": lambda start: partial(start, **{"Content-Range": f"blocks {start}-"}),
    "another size": lambda start: partial(start, **{"Content-Range": f"bytes {start}-9/{len(OCTETS) + 1}"}),
    "compressed": lambda start: partial(start, **{"Content-Encoding": "gzip"}),
    "204": refusal(204),
    "400": refusal(400),
    "403": refusal(403),
    "405": refusal(405),
    "412": refusal(412),
    "416": refusal(416),
    "416 of a shorter file": refusal(416, **{"Content-Range": "bytes */7"}),
    "500": refusal(500),
    "501": refusal(501),
}
"""What servers answer that do not send what is behind an octet, although they would send the whole file."""


@pytest.mark.part("downloads")
@pytest.mark.parametrize("request_", [ANYHOW, IN_PLACE], ids=["all or nothing", "in place"])
@pytest.mark.parametrize("kind", few(UNUSABLE, every=2, part="downloads"))
def test_a_resume_that_is_not_honoured_becomes_a_fresh_start(
    request_: ApplyRequest, kind: str, tmp_path: Path
) -> None:
    cuts = (FRONT - 9, FRONT, FRONT + 299, FRONT + 420, len(OCTETS) - 1)
    for cut in cuts if PROOF else (FRONT + 420 if request_.in_place else FRONT,):
        plant(place := tmp_path / str(cut))
        script = Script(octets=OCTETS, cuts=[cut, 1, cut], partial=UNUSABLE[kind])
        with serving(script) as url:
            do(url, place, request_)

        assert tree(place) == NEW
        assert state_of(place) == "clean"
        assert script.ranged == [None, f"bytes={cut}-", None, None, None]


def test_a_server_that_is_only_busy_is_asked_for_the_rest_again(place: Path) -> None:
    script = Script(octets=OCTETS, cuts=[FRONT + 420])
    answers: list[Callable[[int], tuple[int, dict[str, str], bytes]]]
    answers = [refusal(503), refusal(502), refusal(404), partial]

    def answer(start: int) -> tuple[int, dict[str, str], bytes]:
        return answers.pop(0)(start)

    script.partial = answer
    with serving(script) as url:
        do(url, place)

    assert tree(place) == NEW
    assert script.ranged == [None, *[f"bytes={FRONT + 420}-"] * 4]


def test_what_is_staged_is_kept_though_its_server_does_not_resume(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "MIN_SKIP", 1)
    with serving(Script(octets=OCTETS)) as url, pytest.raises(Cut):
        do(url, place, progress=cut_after(len(ONE) + 200))
    read_again: list[int] = []
    with serving(script := Script(octets=OCTETS, partial=refusal(403))) as url:
        do(url, place, progress=read_again.append)

    assert tree(place) == NEW
    assert sum(read_again) < len(PACKAGE.payload) - len(ONE)
    assert script.ranged == [None, f"bytes={len(OCTETS) - sum(read_again)}-", None]


def test_a_server_that_cuts_again_and_again_is_asked_as_long_as_it_gives_something(place: Path) -> None:
    cuts = list(range(100, len(OCTETS), 100))
    with serving(script := Script(octets=OCTETS, cuts=list(cuts))) as url:
        do(url, place)

    assert tree(place) == NEW
    assert len(script.asked) == len(cuts) + 1


def test_one_that_gives_nothing_more_is_asked_until_a_timeout_ends_it(place: Path) -> None:
    with (
        serving(script := Script(octets=OCTETS, cuts=[FRONT + 7] * 9999)) as url,
        pytest.raises(TransferError, match=r"the Initial Timeout of 1[.]5 s has passed"),
    ):
        do(url, place, timeouts=Timeouts(initial=1.5))

    assert len(script.asked) > 12
    assert tree(place) == OLD
    assert state_of(place) == "clean"


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.usefixtures("unhurried")
def test_a_busy_server_is_asked_again_until_a_timeout_ends_it(status: int, place: Path) -> None:
    script = Script(octets=OCTETS, answers=[(status, {}, b"")] * 3)
    with serving(script) as url:
        do(url, place)
        assert tree(place) == NEW
        script.answers = [(status, {}, b"")] * 9999
        with pytest.raises(TransferError, match=r"the Initial Timeout of 1[.]5 s has passed"):
            do(url, place, ApplyRequest(device=None, again=True), Timeouts(initial=1.5))


def test_a_busy_server_is_not_asked_earlier_than_it_says(place: Path) -> None:
    notes: list[str] = []
    begun = monotonic()
    script = Script(octets=OCTETS, answers=[(503, {"Retry-After": "1"}, b"")] * 2)
    with serving(script) as url, arriving(url) as arrival:
        arrival.note = notes.append
        with open_arrival(arrival):
            assert monotonic() - begun >= 2

    waits = [re.fullmatch(r".+: 503 Service Unavailable: trying again in (1\.[0-3]) s", one) for one in notes]
    assert len(waits) == 2
    assert all(waits)


def test_a_delay_beyond_the_deadline_is_ended_by_it(place: Path) -> None:
    with (
        serving(script := Script(octets=OCTETS, answers=[(503, {"Retry-After": "3600"}, b"")])) as url,
        pytest.raises(TransferError, match=r"the Initial Timeout of 1[.]5 s has passed"),
    ):
        do(url, place, timeouts=Timeouts(initial=1.5))

    assert len(script.asked) == 1


def test_a_web_page_in_the_middle_is_a_break(place: Path) -> None:
    page = (200, {"Content-Type": "text/html"}, b"<html>please log in</html>")
    script = Script(octets=OCTETS, cuts=[FRONT + 7])
    with serving(script) as url, arriving(url) as arrival:
        with open_arrival(arrival) as (opened, payload), Root(place) as root:
            script.answers = [page] * 2
            apply(verify_package(opened, policy(), at=AT), payload, root, ANYHOW)

    assert tree(place) == NEW
    assert len(script.asked) == 4


def test_where_no_timeout_ends_it_a_long_time_without_an_octet_does(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrival_module, "GIVEN_UP_AFTER", 0.3)
    with (
        serving(Script(octets=OCTETS, cuts=[FRONT + 7] * 9999)) as url,
        pytest.raises(TransferError, match=r"the time limit for new data of 0[.]3 s has passed"),
    ):
        do(url, place, timeouts=Timeouts(initial=0, activity=0))


def test_nobody_there_is_told_soon(place: Path) -> None:
    with pytest.raises(TransferError, match="connection refused") as caught:
        do(f"http://127.0.0.1:{nobody()}", place)

    assert caught.value.reason == "contact"
    assert tree(place) == OLD


OTHER: Final = Draft(
    records=PACKAGE.records, payload=PACKAGE.payload[: len(ONE) + 9] + b"?" + PACKAGE.payload[len(ONE) + 10 :]
).encode()
"""The same front matter, and a file that is not what was signed."""


def test_octets_of_two_versions_are_read_once_more_from_the_start(place: Path) -> None:
    cut = FRONT + len(ONE) + 50
    with serving(script := Script(octets=OTHER, cuts=[cut], replaced=[OCTETS])) as url:
        do(url, place)

    assert tree(place) == NEW
    assert script.ranged == [None, f"bytes={cut}-", f"bytes={FRONT + len(ONE)}-"]


def test_and_if_they_still_do_not_fit_that_is_the_end(place: Path) -> None:
    cut = FRONT + len(ONE) + 50
    with (
        serving(script := Script(octets=OTHER, cuts=[cut])) as url,
        pytest.raises(UntrustedError, match="/two: contents do not match the signed SHA-1") as caught,
    ):
        do(url, place)

    assert caught.value.reason == "corrupted"
    assert len(script.asked) == 3
    assert tree(place) == OLD
    assert state_of(place) == "clean"


def test_a_wrong_file_without_a_break_is_no_reason_to_read_it_again(place: Path) -> None:
    with serving(script := Script(octets=OTHER)) as url, pytest.raises(UntrustedError):
        do(url, place)

    assert len(script.asked) == 1


def test_another_package_in_the_middle_of_one_is_not_taken(place: Path) -> None:
    other = Draft(records=(Version(text="2"), *PACKAGE.records[1:]), payload=PACKAGE.payload).encode()
    script = Script(octets=OCTETS, etag=None, cuts=[FRONT + 7], replaced=[other])
    with serving(script) as url, pytest.raises(TransferError, match="now has a different package"):
        do(url, place)

    assert tree(place) == OLD


def test_another_package_in_the_middle_of_the_front_matter_is_read_from_its_start(place: Path) -> None:
    other = Draft(records=(Version(text="2"), *PACKAGE.records[1:]), payload=PACKAGE.payload).encode()
    script = Script(octets=OCTETS, etag=None, cuts=[FRONT - 9], replaced=[other])
    with serving(script) as url:
        do(url, place)

    with Root(place) as root:
        assert installed(root)[0]["version"] == "2"


def test_a_front_matter_that_never_comes_whole_is_given_up(place: Path) -> None:
    with (
        serving(Script(octets=OCTETS, etag=None, cuts=list(range(1, 40)))) as url,
        pytest.raises(TransferError, match="the front matter did not arrive whole in 8 attempts"),
    ):
        do(url, place)


def test_what_nobody_vouches_for_stops_before_its_payload(place: Path) -> None:
    length = 1 << 25  # more than the system keeps of what is sent and not read
    big = Draft(records=(file("/big", bytes(length)),), payload=bytes(length), signers=())
    with serving(script := Script(octets=big.encode())) as url:
        with arriving(url) as arrival, open_arrival(arrival) as (opened, _):
            with pytest.raises(UntrustedError):
                verify_package(opened, policy(), at=AT)
            assert arrival.position == len(big.front)
        assert script.sent < length


@pytest.mark.parametrize("octets", [OCTETS + b"!", OCTETS[:-1]], ids=["longer", "shorter"])
@pytest.mark.parametrize("length", [True, False], ids=["length", "no length"])
def test_a_file_of_another_size_than_its_header_states_fails_to_transfer(
    octets: bytes,
    length: bool,  # noqa: FBT001 - a parameter of pytest
    place: Path,
) -> None:
    with (
        serving(script := Script(octets=octets, length=length)) as url,
        pytest.raises(TransferError) as caught,
    ):
        do(url, place)

    assert tree(place) == OLD
    assert state_of(place) == "clean"
    if length:
        problem = f"the package has {len(octets)} bytes, its header states {len(OCTETS)} [TR-069 E.3]"
        assert str(caught.value) == problem
        assert len(script.asked) == 1


def test_the_size_that_was_told_is_held_against_the_servers(place: Path) -> None:
    with serving(Script(octets=OCTETS)) as url:
        with pytest.raises(TransferError, match=f"expected 7 bytes, the server has {len(OCTETS)}"):
            do(url, place, size=7)
        do(url, place, size=len(OCTETS))

    assert tree(place) == NEW


@pytest.mark.parametrize("request_", [ANYHOW, IN_PLACE], ids=["all or nothing", "in place"])
def test_a_stall_in_the_initial_state_ends_with_the_activity_timeout(
    place: Path, request_: ApplyRequest
) -> None:
    with serving(Script(octets=OCTETS, stalls=[FRONT + 7])) as url, pytest.raises(TransferError) as caught:
        do(url, place, request_, Timeouts(initial=30, activity=2))

    assert caught.value.reason == "timeout"
    problem = f"offset 0x{FRONT + 7:04x}: the Initial Activity Timeout of 2 s has passed"
    assert str(caught.value) == problem
    assert tree(place) == OLD
    assert state_of(place) == "clean"
    with Root(place) as root:
        assert staged_package(root) is None


def test_a_drip_ends_with_the_timeout_of_the_state(place: Path) -> None:
    with serving(Script(octets=OCTETS, drip=0.01)) as url, pytest.raises(TransferError) as caught:
        do(url, place, timeouts=Timeouts(initial=1.5, activity=30))

    assert caught.value.reason == "timeout"
    assert "the Initial Timeout of 1.5 s has passed" in str(caught.value)


def test_compressed_octets_are_refused(place: Path) -> None:
    with (
        serving(Script(octets=OCTETS, extra={"Content-Encoding": "gzip"})) as url,
        pytest.raises(
            TransferError, match="the server compressed the file with gzip, which was not requested"
        ),
    ):
        do(url, place)


# What was staged when it was cut off.


class Cut(BaseException):
    """What a power cut is."""


def cut_after(octets: int) -> Any:
    """Return what ends an installation when so many octets of the payload are there."""
    done = 0

    def progress(more: int) -> None:
        nonlocal done
        done += more
        if done >= octets:
            raise Cut

    return progress


STOPS: Final = sample(range(1, len(PACKAGE.payload)), every=1) if PROOF else (1, 300, 500, 999)


@pytest.mark.part("downloads")
def test_a_download_that_was_cut_off_goes_on_with_what_is_staged(
    tmp_path: Path, record_property: Any
) -> None:
    for stop in STOPS:
        plant(place := tmp_path / str(stop))
        with serving(Script(octets=OCTETS, drip=0)) as url:
            with pytest.raises(Cut):
                do(url, place, progress=cut_after(stop))
            with Root(place) as root:
                staged = staged_package(root)
                recover_in(root)
                assert staged_package(root) == staged is not None
            assert tree(place) == OLD
            assert state_of(place) == "clean"
            read_again = 0

            def count(more: int) -> None:
                nonlocal read_again
                read_again += more

            do(url, place, progress=count)

        assert tree(place) == NEW
        assert state_of(place) == "clean"
        assert staged.octets >= stop
        assert read_again <= len(PACKAGE.payload) - stop
        assert not (place / ".spkg" / "txn").exists()
    record_property("stops", len(STOPS))


def test_staged_octets_that_are_not_what_was_signed_are_read_again(place: Path) -> None:
    with serving(Script(octets=OCTETS)) as url:
        with pytest.raises(Cut):
            do(url, place, progress=cut_after(len(PACKAGE.payload)))
        for one in (place / ".spkg" / "txn" / "new").iterdir():
            one.write_bytes(bytes(len(one.read_bytes())))
        do(url, place)

    assert tree(place) == NEW


def test_what_another_package_has_staged_goes(place: Path) -> None:
    other = Draft(records=(file("/other", ONE),), payload=ONE).encode()
    with serving(Script(octets=OCTETS)) as url, pytest.raises(Cut):
        do(url, place, progress=cut_after(400))
    with serving(Script(octets=other)) as url, pytest.raises(Cut):
        do(url, place, progress=cut_after(10))

    with Root(place) as root:
        assert staged_package(root) is not None
        recover_in(root, discard=True)
        assert staged_package(root) is None


@pytest.mark.parametrize("what", ["hard link", "link", "directory", "fifo"])
def test_what_else_lies_among_what_is_staged_goes(what: str, place: Path, tmp_path: Path) -> None:
    (outside := tmp_path / "outside").write_bytes(ONE)
    with serving(Script(octets=OCTETS)) as url:
        with pytest.raises(Cut):
            do(url, place, progress=cut_after(400))
        for one in (place / ".spkg" / "txn" / "new").iterdir():
            one.unlink()
            match what:
                case "hard link":
                    one.hardlink_to(outside)
                case "link":
                    one.symlink_to(outside)
                case "directory":
                    one.mkdir()
                case _:
                    os.mkfifo(one)
        do(url, place)

    assert outside.read_bytes() == ONE
    assert tree(place) == NEW


def test_a_staging_whose_package_nobody_knows_goes(place: Path) -> None:
    with serving(Script(octets=OCTETS)) as url, pytest.raises(Cut):
        do(url, place, progress=cut_after(400))
    (place / ".spkg" / "txn" / "package").write_bytes(b"")

    with Root(place) as root:
        assert staged_package(root) is None
        recover_in(root)
    assert not (place / ".spkg" / "txn").exists()


# In place.


def stepwise(*, first: int = 0) -> Draft:
    """Return a package that takes something away, and then does what is unsafe."""
    return Draft(
        records=(
            file("/one", ONE),
            Remove(path=P("/keep")),
            file("/two", TWO, at=len(ONE), flags=1),
            file("/three", THREE, at=len(ONE) + len(TWO)),
            End(),
        ),
        payload=ONE + TWO + THREE,
    )


@pytest.mark.usefixtures("unhurried")
@pytest.mark.parametrize(
    ("octets", "error", "state", "left"),
    [
        (0, TransferError, "clean", OLD),
        (299, TransferError, "clean", OLD),
        (300, TransferError, "partial", {**OLD, "one": ONE}),
        (749, TransferError, "partial", {**OLD, "one": ONE}),
        (750, UnsafeError, "unsafe", {**OLD, "one": ONE, "two": TWO}),
        (999, UnsafeError, "unsafe", {**OLD, "one": ONE, "two": TWO}),
    ],
)
def test_what_a_failed_transfer_leaves_in_place_is_what_the_state_says(
    octets: int, error: type[SpkgError], state: str, left: dict[str, bytes], place: Path
) -> None:
    draft = stepwise()
    cut = len(draft.front) + octets
    expected = {name: contents for name, contents in left.items() if name != "keep" or left is OLD}
    script = Script(octets=draft.encode(), cuts=[cut] * 99999)
    with serving(script) as url, pytest.raises(error) as caught:
        do(url, place, IN_PLACE, SHORT)

    assert type(caught.value) is error
    assert state_of(place) == state
    assert tree(place) == expected
    assert caught.value.reason == "timeout"


@pytest.mark.parametrize("octets", [0, 299, 300, 500, 750, 999])
def test_in_place_the_same_package_continues_where_it_was_cut_off(octets: int, place: Path) -> None:
    draft = stepwise()
    with serving(Script(octets=draft.encode())) as url:
        with pytest.raises(Cut):
            do(url, place, IN_PLACE, progress=cut_after(octets))
        do(url, place, IN_PLACE)

    assert state_of(place) == "clean"
    assert tree(place) == {
        **{k: v for k, v in OLD.items() if k != "keep"},
        "one": ONE,
        "two": TWO,
        "three": THREE,
    }


def test_in_place_a_damaged_file_never_appears(place: Path) -> None:
    draft = stepwise()
    octets = bytearray(draft.encode())
    octets[len(draft.front) + 400] ^= 1
    with serving(Script(octets=bytes(octets))) as url, pytest.raises(FailedError) as caught:
        do(url, place, IN_PLACE)

    assert caught.value.reason == "corrupted"
    assert tree(place) == {**{k: v for k, v in OLD.items() if k != "keep"}, "one": ONE}
    assert state_of(place) == "partial"


def test_files_that_come_before_their_commands_wait_for_them(place: Path) -> None:
    draft = Draft(
        records=(
            file("/three", THREE, at=len(ONE) + len(TWO)),
            file("/again", THREE, at=len(ONE) + len(TWO)),
            file("/one", ONE),
            file("/two", TWO, at=len(ONE)),
        ),
        payload=ONE + TWO + THREE,
    )
    with serving(Script(octets=draft.encode(), cuts=[len(draft.front) + 350])) as url:
        do(url, place, IN_PLACE)

    assert tree(place) == {**OLD, "one": ONE, "two": TWO, "three": THREE, "again": THREE}


def test_a_timeout_in_the_unrecoverable_state_is_unsafe(place: Path) -> None:
    draft = stepwise()
    timed = Draft(records=(UnrecoverableTimeout(timeout=1), *draft.records), payload=draft.payload)
    with (
        serving(Script(octets=timed.encode(), stalls=[len(timed.front) + 800] * 9)) as url,
        pytest.raises(UnsafeError) as caught,
    ):
        do(url, place, IN_PLACE)

    assert caught.value.reason == "timeout"
    assert "the Unrecoverable Timeout of 1 s has passed" in str(caught.value)
    assert state_of(place) == "unsafe"


def test_a_stream_in_place_wants_to_be_asked_for(place: Path) -> None:
    from spkg.errors import UsageError  # noqa: PLC0415

    with (
        serving(Script(octets=OCTETS)) as url,
        pytest.raises(UsageError, match="needs the package in a file"),
    ):
        do(url, place, ApplyRequest(device=None, in_place=True))


def test_a_package_that_is_installed_is_not_downloaded_again(place: Path) -> None:
    with serving(script := Script(octets=OCTETS)) as url:
        do(url, place)
        before = script.sent

        assert do(url, place).already

    assert read(OCTETS).payload_offset == FRONT
    assert before >= len(OCTETS)


# What a hostile review found.


def fetched(url: str, output: Path) -> None:
    with arriving(url) as arrival, open_arrival(arrival) as (opened, payload), output.open("xb", 0) as to:
        fetch_package(verify_package(opened, policy(), at=AT), payload, to)


GAPPED: Final = Draft(
    records=(
        file("/one", ONE, at=50),
        file("/both", ONE[200:] + TWO, at=250),
        file("/two", TWO, at=350),
        End(),
    ),
    payload=bytes(50) + ONE + TWO + bytes(77),
)


@pytest.mark.parametrize("etag", ['"1"', None])
@pytest.mark.part("downloads")
@pytest.mark.parametrize("cut", sample(range(len(GAPPED.payload)), every=140))
def test_what_is_fetched_is_one_version_wherever_it_was_cut(
    etag: str | None, cut: int, tmp_path: Path
) -> None:
    good, front = GAPPED.encode(), len(GAPPED.front)
    bad = good[:front] + bytes(octet ^ 1 for octet in GAPPED.payload)
    script = Script(octets=good, etag=etag, cuts=[front + cut], replaced=[bad, good])
    with serving(script) as url:
        try:
            fetched(url, tmp_path / "out")
        except UntrustedError:
            return

    octets = (tmp_path / "out").read_bytes()
    with open_package(tmp_path / "out") as (package, payload):
        check_payload(verify_package(package, policy(), at=AT), payload)
    assert len(octets) == len(good)


def test_a_second_break_while_the_front_matter_is_compared_is_no_other_package(place: Path) -> None:
    for etag, ranges in ((None, True), ('"1"', False)):
        plant(place)
        script = Script(octets=OCTETS, etag=etag, ranges=ranges, cuts=[FRONT + 400, FRONT // 2, FRONT // 3])
        with serving(script) as url:
            do(url, place, ApplyRequest(device=None, again=True))

        assert tree(place) == NEW


def test_a_server_that_has_a_tag_and_no_ranges_is_not_asked_in_circles(place: Path) -> None:
    big = Random(1).randbytes(3 << 20)
    draft = Draft(records=(file("/a", big), file("/b", ONE, at=len(big))), payload=big + ONE)
    script = Script(octets=draft.encode(), ranges=False, cuts=[len(draft.front) + (2 << 20)])
    with serving(script) as url:
        do(url, place)

    assert len(script.asked) == 2
    assert (place / "a").read_bytes() == big


TIMED: Final = Draft(
    records=(UnrecoverableTimeout(timeout=3000), *stepwise().records), payload=ONE + TWO + THREE
)


def test_in_place_the_clocks_go_on_in_the_state_on_disk(place: Path) -> None:
    cut = len(TIMED.front) + 800
    with serving(Script(octets=TIMED.encode(), drip=0)) as url:
        with pytest.raises(Cut):
            do(url, place, IN_PLACE, progress=cut_after(800))
        assert state_of(place) == "unsafe"
    with (
        serving(Script(octets=TIMED.encode(), stalls=[cut])) as url,
        arriving(url, Timeouts(initial=9, activity=9)) as arrival,
        open_arrival(arrival) as (opened, payload),
        Root(place) as root,
    ):
        deadlines = []

        def look(_octets: int) -> None:
            deadlines.append(arrival.watch.deadline)
            raise Cut

        with pytest.raises(Cut):
            apply(verify_package(opened, policy(), at=AT), payload, root, IN_PLACE, progress=look)

    assert [one.title for one in deadlines if one is not None] == ["Unrecoverable Timeout"]
    assert [one.seconds for one in deadlines if one is not None] == [3000]


@pytest.mark.usefixtures("unhurried")
def test_in_place_a_failure_says_nothing_of_another_package(place: Path) -> None:
    first, second = stepwise(), Draft(records=(file("/else", TWO),), payload=TWO)
    with serving(Script(octets=first.encode(), cuts=[len(first.front) + 500] * 9999)) as url:
        with pytest.raises(TransferError):
            do(url, place, IN_PLACE, SHORT)
    with Root(place) as root:
        before = load_checkpoint(root)
    with serving(Script(octets=second.encode(), cuts=[len(second.front) + 5] * 9999)) as url:
        with pytest.raises(TransferError):
            do(url, place, IN_PLACE, SHORT)

    with Root(place) as root:
        assert load_checkpoint(root) == before
    assert before is not None
    assert before.failed


@pytest.mark.usefixtures("unhurried")
def test_in_place_nothing_is_left_of_what_had_arrived(place: Path) -> None:
    draft = stepwise()
    with serving(Script(octets=draft.encode(), cuts=[len(draft.front) + 200] * 9999)) as url:
        with pytest.raises(TransferError):
            do(url, place, IN_PLACE, SHORT)

    assert [one.name for one in (place / ".spkg").iterdir()] == []


def test_in_place_a_defect_in_the_unrecoverable_state_is_unsafe(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def defect(*_arguments: object) -> None:
        raise KeyError(1)

    draft = stepwise()
    monkeypatch.setattr(inplace, "plan_command", defect)
    with serving(Script(octets=draft.encode())) as url:
        with pytest.raises(KeyError):
            do(url, place, IN_PLACE)
        assert state_of(place) == "partial"
        monkeypatch.setattr(inplace, "state_after", lambda *_: InstallationState.UNRECOVERABLE)
        with pytest.raises(UnsafeError, match="a defect in spkg: KeyError: 1"):
            do(url, place, IN_PLACE)

    assert state_of(place) == "unsafe"


def test_a_timeout_of_months_is_one(place: Path) -> None:
    with serving(Script(octets=OCTETS)) as url:
        do(url, place, timeouts=Timeouts(initial=1 << 32, activity=0))

    assert tree(place) == NEW


def test_what_is_staged_is_shown(place: Path) -> None:
    with serving(Script(octets=OCTETS)) as url, pytest.raises(Cut):
        do(url, place, progress=cut_after(500))

    result = CliRunner().invoke(main, ["status", "--root", str(place)])

    staged = r"^  \S+ KiB of package [0-9a-f]{16} are staged: its download can be resumed$"
    assert re.search(staged, result.stdout, re.MULTILINE)


def test_only_a_file_of_our_own_with_one_name_is_gone_on_with(place: Path) -> None:
    with Root(place) as root:
        root.mkdir((b".spkg",), 0o700)
        os.mkfifo(place / ".spkg" / "fifo")
        with pytest.raises(ValueError, match="is never opened for writing"):
            root.reopen((b"keep",))
        (place / ".spkg" / "linked").write_bytes(ONE)
        (place / "other name").hardlink_to(place / ".spkg" / "linked")
        for name in (b"fifo", b"linked"):
            with pytest.raises(OSError, match="not a regular file with exactly one name"):
                root.reopen((b".spkg", name))


def test_who_killed_a_download_did_not_kill_what_was_staged(place: Path) -> None:
    with serving(Script(octets=OCTETS)) as url:
        with pytest.raises(Cut):
            do(url, place, progress=cut_after(500))
        with Root(place) as root:
            trusted = verify_package(read(OCTETS), policy(), at=AT)
            with pytest.raises(FailedError, match="was killed"):
                aftermath(trusted, root, ANYHOW, arriving=True)
            assert staged_package(root) is not None
            with pytest.raises(FailedError, match="was killed"):
                aftermath(trusted, root, ANYHOW)
            assert staged_package(root) is None


def write_without_leave(place: Path) -> None:
    """Go on with a file that nobody may write, as somebody who is not root."""
    os.chdir(place)  # who may go through the directories above is no matter
    os.setgroups([])
    os.setresgid(65534, 65534, 65534)
    os.setresuid(65534, 65534, 65534)
    with Root(Path()) as root:
        root.mkdir((b".spkg",), 0o700)
        file_ = root.create((b".spkg", b"f"))
        file_.write(ONE)
        file_.set_mode(0o444, None)
        file_.close()
        again = root.reopen((b".spkg", b"f"))
        assert b"".join(again.read()) == ONE
        again.sync()
        again.close()
        with pytest.raises(ValueError, match="is never opened for writing"):
            root.reopen((b"f",))


def test_a_file_that_nobody_may_write_can_still_be_staged(tmp_path: Path) -> None:
    (place := tmp_path / "open").mkdir(mode=0o777)
    place.chmod(0o777)
    isolated(write_without_leave, place)
