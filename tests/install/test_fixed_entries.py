"""What is immutable or append-only is found while planning, and not when everything else is moved away."""

from pathlib import Path

import pytest

from spkg.errors import RefusedError
from spkg.format.commands import End, Format, Move, Record, Remove, RemoveSubTree
from spkg.format.paths import RootPath, TreePath
from spkg.install.plan import plan_installation
from spkg.install.tree_path import split
from spkg.verify.signatures import verify_package
from tests.support.commands import run
from tests.support.installation import APPLY, furnish_root
from tests.support.kit import AT, Draft, file, policy, read
from tests.support.memory_tree import tree
from tests.support.restrictions import APPEND_ONLY, IMMUTABLE, fixed

LEAVING = RemoveSubTree(path=TreePath.of("/www"))
MOVING = Move(source_path=RootPath.of("/www/a"), destination_path=RootPath.of("/b"))


def planned(attributes: dict[str, str], record: Record) -> str:
    """Return what is said of a plan in a tree with such attributes."""
    package = verify_package(read(Draft(records=(record, End())).encode()), policy(), at=AT)
    where = tree(
        "/www/a", "/www/sub/b", "/new/", attributes={split(path): why for path, why in attributes.items()}
    )
    try:
        plan_installation(package, None, where)
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
        (file("/new/c"), {"/new": "append-only", "/www": "immutable", "/": "append-only"}),
        (file("/www/c"), {"/www/a": "immutable", "/www/sub": "immutable"}),
        (Remove(path=RootPath.of("/www/a")), {"/www/sub/b": "immutable"}),
        (Remove(path=RootPath.of("/www/none")), {"/www": "immutable"}),
    ],
)
def test_what_stays_may_be_immutable(record: Record, attributes: dict[str, str]) -> None:
    assert planned(attributes, record) == "planned"


def test_nothing_is_put_into_an_immutable_directory() -> None:
    assert planned({"/new": "immutable"}, file("/new/c")) == refused("/new", "immutable")


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
