"""The parts that tests run in: slices that cover everything, budgets that are held, faults that are found."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.seeded_faults import FAULTS, Fault, hunt, module_of, selection, sources, workshop
from tests.support import run, sampling
from tests.support.parts import PARTS, PROOF
from tests.support.sampling import SLICE, Slice, of_commit, read_slice, sample, stride

TREE: Final = Path(__file__).parent
MANY: Final = """
import pytest

@pytest.mark.part("fuzz", turns=True, few=3)
@pytest.mark.parametrize("number", range(7))
def test_each(number: int) -> None:
    pass
"""
OUTCOME: Final = [sys.executable, "-c", "import sys; sys.exit(int(sys.argv[1]))"]


def turn(monkeypatch: pytest.MonkeyPatch, number: int, of: int) -> None:
    monkeypatch.setattr(sampling, "PROOF", True)
    monkeypatch.setattr(sampling, "SLICE", Slice(number, of))


@pytest.mark.parametrize("of", [1, 3, 10])
def test_all_slices_together_are_the_whole_sweep(monkeypatch: pytest.MonkeyPatch, of: int) -> None:
    tried: list[int] = []
    begins = set()
    for number in range(1, of + 1):
        turn(monkeypatch, number, of)
        tried += sample(range(100), every=7)
        begins.add(stride(7, 3, share=2, begin=1))

    assert sorted(tried) == [*range(100)]
    assert begins == {(1 + 2 * number, 2 * of) for number in range(of)}


@pytest.mark.skipif(sampling.PROOF, reason="the short suite's own")
def test_the_short_suite_tries_a_few() -> None:
    assert [*sample(range(10), every=4, first=1)] == [1, 5, 9]
    assert stride(7, 3, share=2, begin=1) == (3, 7)
    assert (sampling.amount(1000, 10), sampling.least(3), SLICE) == (10, 3, Slice(1, 1))


def test_what_is_drawn_is_divided_and_drawn_anew_in_each_slice(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = sampling.chance("x").random()
    drawn = {whole}
    for number in range(1, 11):
        turn(monkeypatch, number, 10)
        assert sampling.amount(95, 1) == 10
        assert sampling.least(3) == 0
        drawn.add(sampling.chance("x").random())

    assert len(drawn) == 11
    turn(monkeypatch, 1, 1)
    assert (sampling.amount(95, 1), sampling.chance("x").random()) == (95, whole)


def test_commits_that_follow_each_other_have_all_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {"rev-parse HEAD": f"{7:040x}", "rev-parse --is-shallow-repository": "false"}
    taken = []
    for count in range(84, 94):
        answers["rev-list --count HEAD"] = str(count)
        monkeypatch.setattr(sampling, "_git", lambda *args: answers[" ".join(args)])
        taken.append(of_commit(10))

    assert sorted(one.number for one in taken) == [*range(1, 11)]
    answers["rev-parse --is-shallow-repository"] = "true"  # where the count says nothing
    assert of_commit(10) == Slice(8, 10)
    answers["rev-parse HEAD"] = ""  # and where there is no repository
    assert of_commit(10) == Slice(1, 10)


def test_a_slice_is_read_strictly() -> None:
    assert (read_slice(""), str(read_slice(""))) == (Slice(1, 1), "all of it")
    assert str(read_slice("3/10")) == "slice 3 of 10"
    assert read_slice("commit/10").of == 10
    for text in ("3", "0/10", "11/10", "3/0", "-1/10", "3/10/2", "last/10"):
        with pytest.raises(ValueError, match="SPKG_SAMPLE: "):
            read_slice(text)


def test_a_part_that_goes_over_its_budget_is_stopped_and_has_failed() -> None:
    slow = [sys.executable, "-c", "import time; time.sleep(60)"]

    assert run.bounded(slow, 0.2, {}) == "STOPPED: over its budget of 0 s"
    assert run.bounded([*OUTCOME, "0"], 60, {}) == "passed"
    assert run.bounded([*OUTCOME, "1"], 60, {}) == "FAILED with 1"


def test_a_part_of_which_nothing_has_its_turn_has_passed() -> None:
    assert run.bounded([*OUTCOME, "5"], 60, {}, none_is_fine=True) == "passed, nothing has its turn"
    assert run.bounded([*OUTCOME, "5"], 60, {}) == "FAILED with 5"


def test_a_part_that_nobody_knows_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main(["crush"]) == 2
    assert run.main([]) == 2
    assert capsys.readouterr().err.startswith(f"expected proof, or some of {', '.join(PARTS)}, got crush\n")


@pytest.mark.parametrize(
    ("which", "collected"), [("not proof", [0, 3, 6]), ("thinned", [1, 2, 4, 5]), ("proof", [1, 2, 4, 5])]
)
def test_of_many_cases_the_short_suite_has_a_few_and_the_proof_the_others(
    which: str, collected: list[int], tmp_path: Path
) -> None:
    (tmp_path / "test_many.py").write_text(MANY)
    options = ("-p", "tests.conftest", "-p", "no:cacheprovider", "--collect-only", "-q", "-m", which)

    found = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "-c", "pyproject.toml", str(tmp_path)],
        cwd=TREE.parent, capture_output=True, text=True, check=False,
    )  # fmt: skip

    cases = [line.partition("[")[2] for line in found.stdout.splitlines() if "::" in line]
    assert cases == [f"{number}]" for number in collected], found.stdout


def test_every_part_has_a_budget_and_a_slice_of_it_less() -> None:
    assert all(part.whole > 0 for part in PARTS.values())
    assert all(0 < run.budget_of(part, Slice(1, 10)) <= part.whole for part in PROOF.values())


def test_every_fault_can_be_made_and_has_tests() -> None:
    texts = sources()

    for fault in FAULTS:
        assert module_of(fault, texts).suffix == ".py", fault.name
        assert fault.old != fault.new, fault.name
        assert selection(fault), fault.name


@pytest.mark.part("faults", turns=True)
@pytest.mark.proof
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_is_found(fault: Fault, copy: Path) -> None:
    assert hunt(fault, copy) == "found"


@pytest.fixture(scope="module")
def copy() -> Iterator[Path]:
    with workshop() as tree:
        yield tree


def test_a_module_with_a_sweep_says_which_part_it_belongs_to() -> None:
    texts = {path.name: path.read_text(encoding="utf-8") for path in TREE.rglob("test_*.py")}
    sweeping = {name for name, text in texts.items() if "support.sampling import" in text}

    lacking = {name for name in sweeping if "mark.part(" not in texts[name] and 'part="' not in texts[name]}

    alone = {"test_naive_installer.py", "test_renewal_life.py"}  # of hypothesis, and so of the part fuzz
    assert lacking == alone
