"""How a command reports a failure as JSON is its own: what its options mean, not what they look like."""

import json

import pytest

from tests.support.commands import run


@pytest.mark.parametrize(
    "args",
    [
        ("keygen", "--name", "--json"),  # a name, though an odd one
        ("keygen", "--json", "k"),  # keygen has no such option
        ("verify", "--trust", "--json"),  # a file
        ("verify", "--", "--json", "p.spkg"),  # a package
        ("--json",),
        ("--json", "verify", "p.spkg"),
        ("voucher", "--json"),
        ("nothing", "--json"),
    ],
    ids=" ".join,
)
def test_who_did_not_ask_for_json_gets_none(args: tuple[str, ...]) -> None:
    result = run(*args)

    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("spkg: error: ")


@pytest.mark.parametrize(
    ("args", "schema"),
    [
        (("verify", "--json"), "spkg.error/1"),
        (("verify", "--json", "--trust"), "spkg.error/1"),
        (("verify", "--nothing", "--json", "p.spkg"), "spkg.error/1"),
        (("verify", "p.spkg", "--jobs", "0", "--json"), "spkg.error/1"),
        (("--debug", "verify", "--json"), "spkg.error/1"),
        (("voucher", "options", "--json"), "spkg.error/1"),
        (("voucher", "ledger", "list", "--json", "--state", "lost"), "spkg.error/1"),
        (("voucher", "issue", "--json", "--nothing", "-o", "v.xml"), "spkg.error/1"),
        (("voucher", "issue", "--json", "--nothing", "--out-dir", "out"), "spkg.voucher.issue/1"),
        (("voucher", "issue", "--nothing", "--out-dir=out", "--json"), "spkg.voucher.issue/1"),
        (("voucher", "issue", "--json", "--out-dir"), "spkg.voucher.issue/1"),
        (("voucher", "options", "--store", "-", "--json"), "spkg.error/1"),
        (("verify", "p.spkg", "--no-clock=x", "--json"), "spkg.error/1"),
        (("apply", "--json"), "spkg.apply/1"),
        (("apply", "--json", "p.spkg", "--nothing"), "spkg.apply/1"),
        (("apply", "--root", "root", "--json", "--trust"), "spkg.apply/1"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else value,
)
def test_who_asked_for_json_gets_the_failure_in_it(args: tuple[str, ...], schema: str) -> None:
    result = run(*args)

    document = json.loads(result.stdout)
    assert (result.exit_code, document["exit"], document["schema"]) == (2, 2, schema)
    assert result.stderr.startswith(f"spkg: error: {document['message']}\n")
    if schema != "spkg.error/1":
        assert (document["event"], result.stdout.count("\n")) == ("result", 1)
