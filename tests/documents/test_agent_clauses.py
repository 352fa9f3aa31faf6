"""Each clause on the agent is in the table once, and each test that it names exists."""

from collections import Counter
from typing import Final

from tests.documents.clauses import CLAUSES, ELSEWHERE, clauses, clauses_page, places

MOST: Final = {
    "S": 21,
    "D": 19,
    "C": 10,
    "H": 15,
    "X": 18,
    "E": 18,
    "R": 22,
    "A": 6,
    "T": 16,
    "P": 14,
    "O": 3,
    "V": 8,
    "problem ": 51,
    "server ": 18,
}
"""The last number of each chapter."""


def test_each_number_is_there_once() -> None:
    expected = [f"{key}{number}" for key, most in MOST.items() for number in range(1, most + 1)]

    assert Counter(one.number for one in clauses()) == Counter(expected)


def test_a_clause_is_held_by_tests_that_exist_or_says_why_not() -> None:
    for clause in clauses():
        assert clause.asks, clause
        assert clause.tests or clause.elsewhere in ELSEWHERE, clause
        counts = {test: len(places().get(test, ())) for test in clause.tests}
        assert counts == dict.fromkeys(clause.tests, 1), clause


def test_the_page_is_that_of_the_table() -> None:
    assert CLAUSES.read_text() == clauses_page()
