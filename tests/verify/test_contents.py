"""The files of a payload: every octet to whoever wants it, the same verdict by every way."""

import os
from hashlib import sha1
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spkg.common.digests import Digest
from spkg.errors import FormatError
from spkg.format.commands import Add, End, StrongDigests
from spkg.format.ranges import Range, deepest_overlap, uncovered
from spkg.verify.contents import DamagedPayloadError, PayloadReport, check_payload
from spkg.verify.payload import CHUNK, PARALLEL_FROM, open_package
from spkg.verify.signatures import verify_package
from tests.support.kit import AT, CONTENTS, Draft, file, policy

LARGE = Random(1).randbytes(1 << 16) * (PARALLEL_FROM >> 16)


def check(path: Path, *, jobs: int = 1, sha256: bool = False) -> PayloadReport:
    with open_package(path) as (package, payload):
        return check_payload(verify_package(package, policy(), at=AT), payload, jobs=jobs, sha256=sha256)


def write(path: Path, draft: Draft) -> Path:
    path.write_bytes(draft.encode())
    return path


def large(cut: int = len(LARGE) // 3) -> Draft:
    return Draft(
        records=(file("/a", LARGE[:cut]), file("/b", LARGE[cut:], at=cut), End()),
        payload=LARGE,
    )


def test_every_file_is_reported_with_its_digests(tmp_path: Path) -> None:
    package = write(tmp_path / "p", Draft(records=(file("/a"), file("b", kind=Add), End())))

    report = check(package, sha256=True)

    assert [str(one.file.record.path) for one in report.files] == ["/a", "b"]
    assert {one.sha1 for one in report.files} == {sha1(CONTENTS, usedforsecurity=False).digest()}
    assert {one.sha256 for one in report.files} == {Digest.SHA256.of(CONTENTS)}
    assert {one.problem for one in report.files} == {""}


def test_sha_256_is_computed_only_where_it_is_wanted(tmp_path: Path) -> None:
    plain = write(tmp_path / "plain", Draft())
    strong = StrongDigests(digests=(Digest.SHA256.of(CONTENTS),))
    with_strong = write(tmp_path / "strong", Draft(records=(strong, file("/a"), End())))

    assert check(plain).files[0].sha256 is None
    assert check(with_strong).files[0].sha256 == Digest.SHA256.of(CONTENTS)


@pytest.mark.parametrize("jobs", [1, 2, 8])
def test_several_jobs_find_what_one_finds(tmp_path: Path, jobs: int) -> None:
    package = write(tmp_path / "p", large())

    report = check(package, jobs=jobs)

    assert [one.sha1 for one in report.files] == [one.sha1 for one in check(package).files]


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("place", [0, len(LARGE) // 3 - 1, len(LARGE) // 3, len(LARGE) - 1])
def test_one_flipped_bit_is_found_wherever_it_is(tmp_path: Path, jobs: int, place: int) -> None:
    octets = bytearray(large().encode())
    octets[len(octets) - len(LARGE) + place] ^= 1
    (tmp_path / "p").write_bytes(octets)

    with pytest.raises(DamagedPayloadError) as caught:
        check(tmp_path / "p", jobs=jobs)

    damaged = "/a" if place < len(LARGE) // 3 else "/b"
    assert caught.value.problem == f"{damaged}: contents do not match the signed SHA-1 digest"
    assert [bool(one.problem) for one in caught.value.report.files] == [damaged == "/a", damaged == "/b"]


def test_progress_adds_up_to_the_payload_however_it_is_hashed(tmp_path: Path) -> None:
    package = write(tmp_path / "p", large())
    for jobs in (1, 2):
        done: list[int] = []
        with open_package(package) as (opened, payload):
            check_payload(verify_package(opened, policy(), at=AT), payload, jobs=jobs, progress=done.append)

        assert sum(done) == len(LARGE)


def test_octets_that_no_command_covers_are_reported(tmp_path: Path) -> None:
    draft = Draft(records=(file("/a", b"two", at=3), End()), payload=b"onetwothree")

    report = check(write(tmp_path / "p", draft))

    assert report.uncovered == (Range(0, 3), Range(6, 5))


def test_a_package_without_files_may_have_a_payload_that_nobody_signed(tmp_path: Path) -> None:
    report = check(write(tmp_path / "p", Draft(records=(), payload=b"anything")))

    assert report.uncovered == (Range(0, 8),)


def test_files_may_share_octets(tmp_path: Path) -> None:
    records = (file("/all", b"abcdef"), file("/inner", b"bcd", at=1), file("/last", b"ef", at=4), End())

    report = check(write(tmp_path / "p", Draft(records=records, payload=b"abcdef")), jobs=2)

    assert [one.problem for one in report.files] == ["", "", ""]
    assert report.uncovered == ()


def test_sixty_four_files_may_share_an_octet_and_no_more(tmp_path: Path) -> None:
    octets = bytes(range(80))
    shared = [file(f"/{length}", octets[:length]) for length in range(1, 66)]
    most = Draft(records=(*shared[1:], End()), payload=octets)
    more = Draft(records=(*shared, End()), payload=octets)

    assert len(check(write(tmp_path / "most", most)).files) == 64
    with pytest.raises(FormatError) as caught:
        check(write(tmp_path / "more", more))
    assert str(caught.value).endswith("more than 64 files share bytes of the payload [TR-069 E.4.3]")


def test_the_same_range_a_thousand_times_is_hashed_once(tmp_path: Path) -> None:
    records = (*(file(f"/{number}") for number in range(900)), End())

    assert len(check(write(tmp_path / "p", Draft(records=records))).files) == 900


def test_a_file_that_shrinks_while_it_is_read_is_malformed(tmp_path: Path) -> None:
    package = write(tmp_path / "p", large())
    for jobs in (1, 2):
        write(package, large())
        with open_package(package) as (opened, payload):
            trusted = verify_package(opened, policy(), at=AT)
            os.truncate(package, payload.offset + 10)
            with pytest.raises(FormatError) as caught:
                check_payload(trusted, payload, jobs=jobs)
        assert caught.value.field == "payload"


ranges = st.builds(Range, st.integers(0, 600), st.integers(0, 200))


@given(st.lists(ranges, max_size=12), st.integers(0, 900))
def test_what_is_uncovered_is_what_no_range_covers(wanted: list[Range], length: int) -> None:
    inside = [one for one in wanted if one.end <= length]
    covered = {octet for one in inside for octet in range(one.start, one.end)}

    gaps = uncovered(inside, length)

    assert {octet for gap in gaps for octet in range(gap.start, gap.end)} == set(range(length)) - covered
    assert all(one.end < other.start for one, other in pairwise(gaps))


@given(st.lists(ranges, max_size=12, unique=True))
def test_the_deepest_overlap_is_that_of_some_octet(wanted: list[Range]) -> None:
    depths = [sum(one.start <= octet < one.end for one in wanted) for octet in range(801)]

    deepest = deepest_overlap(wanted)

    assert len(deepest) == max(depths)


def test_a_chunk_boundary_changes_nothing(tmp_path: Path) -> None:
    octets = Random(1).randbytes(CHUNK * 2 + 7)
    cuts = [0, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, len(octets)]
    records = [file(f"/{one}", octets[one:other], at=one) for one, other in pairwise(cuts)]

    report = check(write(tmp_path / "p", Draft(records=(*records, End()), payload=octets)))

    assert [one.problem for one in report.files] == [""] * 5
