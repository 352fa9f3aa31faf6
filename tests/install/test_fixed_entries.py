"""What attributes and permissions forbid is found while planning, and not when all else is moved away."""

import errno
import os
from pathlib import Path

import pytest

from spkg.errors import RefusedError
from spkg.format.commands import End, Format, Move, Record, Remove, RemoveSubTree
from spkg.format.paths import RootPath, TreePath
from spkg.install.admission import check_writable
from spkg.install.applied import ApplyRequest
from spkg.install.own_directory import check_own, working_in
from spkg.install.plan import plan_installation
from spkg.install.root import Root
from spkg.install.staging import begin
from spkg.install.transaction import commit
from spkg.install.tree_path import Parts, shown, split
from spkg.verify.signatures import verify_package
from tests.support.commands import run
from tests.support.denied_calls import ACCESS_CALLS, without_calls
from tests.support.installation import APPLY, furnish_root
from tests.support.kit import AT, CONTENTS, Draft, file, policy, read
from tests.support.memory_tree import tree
from tests.support.restrictions import APPEND_ONLY, IMMUTABLE, fixed, without_privileges

LEAVING = RemoveSubTree(path=TreePath.of("/www"))
MOVING = Move(source_path=RootPath.of("/www/a"), destination_path=RootPath.of("/b"))


def planned(
    attributes: dict[str, str],
    *records: Record,
    in_place: bool = False,
    foreign: frozenset[Parts] = frozenset(),
) -> str:
    """Return what is said of a plan in a tree with such attributes."""
    package = verify_package(read(Draft(records=(*records, End())).encode()), policy(), at=AT)
    where = tree(
        "/a/",
        "/www/a",
        "/www/sub/b",
        "/new/",
        attributes={split(path): why for path, why in attributes.items()},
        foreign=foreign,
    )
    try:
        plan_installation(package, None, where, in_place=in_place)
    except RefusedError as exc:
        return f"{exc}; {exc.hint}"
    return "planned"


def refused(path: str, why: str) -> str:
    problem = f"{path} is {why}, it and its entries can't be removed, replaced or moved"
    return f"{problem}; take the attribute away with 'chattr -{why[0]}'"


@pytest.mark.parametrize("why", ["immutable", "append-only"])
@pytest.mark.parametrize(
    ("record", "path"),
    [
        (LEAVING, "/www"),
        (LEAVING, "/www/sub"),
        (LEAVING, "/www/sub/b"),
        (LEAVING, "/"),
        (Format(), "/www/a"),
        (Remove(path=RootPath.of("/www/a")), "/www/a"),
        (Remove(path=RootPath.of("/www/a")), "/www"),
        (file("/www/a"), "/www/a"),
        (file("/www/a"), "/www"),
        (MOVING, "/www/a"),
        (MOVING, "/www"),
    ],
)
def test_what_has_to_go_and_can_not_is_refused(record: Record, path: str, why: str) -> None:
    assert planned({path: why}, record) == refused(path, why)


@pytest.mark.parametrize(
    ("record", "attributes"),
    [
        (file("/new/c"), {"/www": "immutable", "/": "append-only"}),
        (file("/www/c"), {"/www/a": "immutable", "/www/sub": "immutable"}),
        (Remove(path=RootPath.of("/www/a")), {"/www/sub/b": "immutable"}),
        (Remove(path=RootPath.of("/www/none")), {"/www": "immutable"}),
    ],
)
def test_what_stays_may_be_immutable(record: Record, attributes: dict[str, str]) -> None:
    assert planned(attributes, record) == "planned"


@pytest.mark.parametrize("why", ["immutable", "append-only"])
@pytest.mark.parametrize("path", ["/new/c", "/new/d/e"])
def test_nothing_is_put_where_it_can_not_be_taken_back_from(path: str, why: str) -> None:
    assert planned({"/new": why}, file(path)) == refused("/new", why)


@pytest.mark.parametrize("in_place", [False, True])
def test_in_place_what_is_somewhere_only_in_between_counts_too(*, in_place: bool) -> None:
    between = Move(source_path=RootPath.of("/a/x"), destination_path=RootPath.of("/new/x"))

    found = planned({"/a": "immutable"}, file("/a/x"), between, in_place=in_place)

    assert found == (refused("/a", "immutable") if in_place else "planned")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    furnish_root()
    Path("root/www/sub").mkdir(parents=True)
    Path("root/www/sub/b").write_text("kept")
    return tmp_path


@pytest.mark.parametrize("how", [(), ("--dry-run",), ("--in-place",)])
@pytest.mark.parametrize("attribute", [IMMUTABLE, APPEND_ONLY])
@pytest.mark.parametrize("path", ["www", "www/sub", "www/sub/b"])
@pytest.mark.usefixtures("here")
def test_on_a_real_file_system_it_is_refused_too(path: str, attribute: int, how: tuple[str, ...]) -> None:
    Path("p.spkg").write_bytes(Draft(records=(file("/first"), LEAVING, End())).encode())

    with fixed(Path("root", path), attribute):
        result = run("apply", "p.spkg", *APPLY, *how)

    why = "immutable" if attribute == IMMUTABLE else "append-only"
    problem, hint = refused(f"/{path}", why).split("; ")
    assert (result.exit_code, result.stderr) == (5, f"spkg: error: {problem}\nspkg: hint: {hint}\n")
    assert sorted(path.name for path in Path("root").iterdir() if path.name != ".spkg") == ["old", "www"]
    assert run("apply", "p.spkg", *APPLY).exit_code == 0


@pytest.mark.parametrize("how", [(), ("--dry-run",), ("--in-place",)])
@pytest.mark.usefixtures("here")
def test_a_root_in_which_nothing_can_be_made_is_refused(how: tuple[str, ...]) -> None:
    Path("p.spkg").write_bytes(Draft(records=(file("/www/new"), End())).encode())

    with fixed(Path("root")):
        result = run("apply", "p.spkg", *APPLY, *how)

    problem, hint = refused("/", "immutable").split("; ")
    assert (result.exit_code, result.stderr) == (5, f"spkg: error: {problem}\nspkg: hint: {hint}\n")
    assert not Path("root/www/new").exists()


@pytest.mark.usefixtures("here")
def test_new_files_can_go_below_a_root_to_which_entries_can_only_be_added() -> None:
    Path("p.spkg").write_bytes(Draft(records=(file("/www/new"), End())).encode())

    with fixed(Path("root"), APPEND_ONLY):
        result = run("apply", "p.spkg", *APPLY)

    assert result.exit_code == 0
    assert Path("root/www/new").read_bytes() == CONTENTS


@pytest.mark.parametrize("contents", [b'{"installed":[]}', b"damaged"])
@pytest.mark.parametrize("attribute", [IMMUTABLE, APPEND_ONLY])
@pytest.mark.parametrize("path", [".spkg", ".spkg/installed", ".spkg/checkpoint", ".spkg/txn"])
@pytest.mark.usefixtures("here")
def test_the_installer_s_own_files_are_looked_at_before_the_first_change(
    path: str, attribute: int, contents: bytes
) -> None:
    Path("p.spkg").write_bytes(Draft(records=(file("/www/new"), End())).encode())
    Path("root/.spkg/txn").mkdir(parents=True)
    Path("root/.spkg").chmod(0o700)
    for name in ("installed", "checkpoint"):
        Path("root/.spkg", name).write_bytes(contents)
    why = "immutable" if attribute == IMMUTABLE else "append-only"
    problem, hint = refused(f"/{path}", why).split("; ")

    with fixed(Path("root", path), attribute):
        results = [
            run(*command)
            for command in (
                *(("apply", "p.spkg", *APPLY, *how) for how in ((), ("--dry-run",), ("--in-place",))),
                ("recover", "--root", "root"),
            )
        ]

    told = [(result.exit_code, result.stderr) for result in results]
    assert told == [(5, f"spkg: error: {problem}\nspkg: hint: {hint}\n")] * 4
    assert not Path("root/www/new").exists()


@pytest.mark.parametrize("path", ["txn/journal", "txn/old"])
@pytest.mark.usefixtures("here")
def test_what_an_interrupted_installation_needs_is_looked_at_before_recovery(path: str) -> None:
    with Root(Path("root")) as root, working_in(root):
        begin(root)
        commit(root, [], [])

    with fixed(Path("root/.spkg", path)):
        stopped = run("recover", "--root", "root")
    recovered = run("recover", "--root", "root")

    problem, hint = refused(f"/.spkg/{path}", "immutable").split("; ")
    assert (stopped.exit_code, stopped.stderr) == (5, f"spkg: error: {problem}\nspkg: hint: {hint}\n")
    assert recovered.exit_code == 0


def no_permission(path: str) -> str:
    hint = "run spkg as root or as the owner of the files; if root may not, look at 'lsattr -d'"
    return f"this user has no permission to write in {path}; {hint}"


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize(
    ("record", "path"),
    [
        (file("/www/a"), "/www"),
        (file("/new/c"), "/new"),
        (file("/new/d/e"), "/new"),
        (MOVING, "/www"),
        (MOVING, "/"),
        (Remove(path=RootPath.of("/www/a")), "/www"),
        (LEAVING, "/www"),
        (LEAVING, "/"),
    ],
)
def test_a_directory_in_which_this_user_may_not_write_is_refused(
    record: Record, path: str, *, in_place: bool
) -> None:
    foreign = frozenset({split(path)})

    assert planned({}, record, in_place=in_place, foreign=foreign) == no_permission(path)
    assert planned({}, record, in_place=in_place) == "planned"


@pytest.mark.parametrize("how", [(), ("--dry-run",), ("--in-place",)])
@pytest.mark.parametrize("path", ["/", "/.spkg", "/www"])
@pytest.mark.usefixtures("here")
def test_without_the_permission_to_write_a_real_root_is_refused_too(path: str, how: tuple[str, ...]) -> None:
    Path("p.spkg").write_bytes(Draft(records=(file("/www/new"), End())).encode())
    if path != "/":
        Path("root/.spkg").mkdir(mode=0o700)
    if os.geteuid() == 0:
        for directory in (Path(), *Path().rglob("*")):
            os.chown(directory, 65534, 65534)
    Path(f"root{path}").chmod(0o500)

    with without_privileges():
        with Root(Path("root")) as root:
            for one in ((), (b"www",), (b"missing",)):
                assert root.writable(one) is (shown(one) != path), one
        result = run("apply", "p.spkg", *APPLY, *how)

    problem, hint = no_permission(path).split("; ", 1)
    assert (result.exit_code, result.stderr) == (5, f"spkg: error: {problem}\nspkg: hint: {hint}\n")
    assert not Path("root/www/new").exists()


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.usefixtures("here")
def test_a_read_only_subvolume_is_refused_as_what_it_is(*, own: bool) -> None:
    if own:
        Path("root/.spkg").mkdir(mode=0o700)
    package = verify_package(read(Draft(records=(LEAVING, End())).encode()), policy(), at=AT)
    request = ApplyRequest(device=None)

    def plan() -> None:
        with Root(Path("root")) as root:
            check_own(root)
            check_writable(package, root, request)

    raised = without_calls(ACCESS_CALLS, errno.EROFS, plan)

    assert str(raised) == "the root is in a read-only subvolume"
    assert isinstance(raised, RefusedError)
    assert raised.hint == "make it writable, on btrfs with 'btrfs property set'"
