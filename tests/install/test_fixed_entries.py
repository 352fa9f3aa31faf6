"""What is immutable or append-only is found while planning, and not when everything else is moved away."""

from pathlib import Path

import pytest

from spkg.errors import RefusedError
from spkg.format.commands import End, Format, Move, Record, Remove, RemoveSubTree
from spkg.format.paths import RootPath, TreePath
from spkg.install.own_directory import working_in
from spkg.install.plan import plan_installation
from spkg.install.root import Root
from spkg.install.transaction import begin, commit
from spkg.install.tree_path import split
from spkg.verify.signatures import verify_package
from tests.support.commands import run
from tests.support.installation import APPLY, furnish_root
from tests.support.kit import AT, CONTENTS, Draft, file, policy, read
from tests.support.memory_tree import tree
from tests.support.restrictions import APPEND_ONLY, IMMUTABLE, fixed

LEAVING = RemoveSubTree(path=TreePath.of("/www"))
MOVING = Move(source_path=RootPath.of("/www/a"), destination_path=RootPath.of("/b"))


def planned(attributes: dict[str, str], *records: Record, in_place: bool = False) -> str:
    """Return what is said of a plan in a tree with such attributes."""
    package = verify_package(read(Draft(records=(*records, End())).encode()), policy(), at=AT)
    where = tree(
        "/a/",
        "/www/a",
        "/www/sub/b",
        "/new/",
        attributes={split(path): why for path, why in attributes.items()},
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
