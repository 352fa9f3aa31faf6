"""The tree below a root, as the planner sees it."""

import errno

import pytest

from spkg.install.root_tree import FOLDING, RootTree
from tests.support.naive_installer import File
from tests.support.simulated_file_system import Simulation


def planted(*names: bytes, fat: bool) -> Simulation:
    root = Simulation(fat=fat)
    root.plant(tuple(((name,), File(b"")) for name in names))
    return root


@pytest.mark.parametrize("fat", [False, True])
def test_whether_names_fold_is_tried_with_one_that_is_there(*, fat: bool) -> None:
    assert RootTree(planted(b"0", b"bin", fat=fat)).folds is fat


def test_names_that_differ_in_case_alone_do_not_fold() -> None:
    assert not RootTree(planted(b"APP", b"app", fat=False)).folds


@pytest.mark.parametrize("name", [b"0", None])
def test_where_there_is_nothing_to_try_it_with_the_type_counts(
    name: bytes | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = planted(*([] if name is None else [name]), fat=True)

    assert not RootTree(root).folds  # whatever this runs on does not
    monkeypatch.setattr("spkg.install.root_tree.FOLDING", Everything())
    assert RootTree(root).folds


def test_a_root_that_can_not_be_listed_is_judged_by_its_type(monkeypatch: pytest.MonkeyPatch) -> None:
    root = planted(b"bin", fat=True)

    def refused(_path: object) -> list[bytes]:
        raise PermissionError(errno.EACCES, "permission denied")

    monkeypatch.setattr(root, "names", refused)

    assert not RootTree(root).folds


class Everything(frozenset[str]):
    """Types of which each is one that folds."""

    def __contains__(self, _kind: object) -> bool:
        return True


def test_the_types_that_fold_are_those_of_windows_and_of_others() -> None:
    assert {"vfat", "exfat", "ntfs3", "cifs", "hfsplus"} <= FOLDING
