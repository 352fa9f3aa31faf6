"""The README: short, and with what a newcomer needs."""

import re
import tomllib

from tests.documents.pages import README, ROOT, name_of, pages

TEXT = README.read_text()
LIMIT = 8192


def test_the_readme_is_short() -> None:
    assert len(README.read_bytes()) <= LIMIT


def test_the_readme_names_the_two_commands_of_a_newcomer() -> None:
    for command in ("make demo", "make test"):
        assert re.search(rf"^{command}\b", TEXT, re.MULTILINE), command


def test_the_readme_installs_the_wheel_of_this_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]

    assert {*re.findall(r"tr069_spkg-([0-9.]+)-py3-none-any\.whl", TEXT)} == {version}


def test_every_page_can_be_reached_from_the_readme() -> None:
    linked = {*re.findall(r"\]\((docs/[^)#]+\.md)", TEXT)}
    made_for_the_site = {"docs/index.md", "docs/changelog.md"}

    assert {name_of(page) for page in pages()} - linked - made_for_the_site == {"README.md"}


def test_nobody_is_led_to_another_program_of_this_name() -> None:
    for page in pages():
        assert re.search(r"pip install ['\"]?spkg\b", page.read_text()) is None, name_of(page)


def test_the_changelog_begins_with_this_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    versions = re.findall(r"^## \[([^\]]+)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)

    assert next(one for one in versions if one != "Unreleased") == version


def test_every_version_of_the_changelog_has_a_date_and_known_kinds_of_changes() -> None:
    known = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    for line in (ROOT / "CHANGELOG.md").read_text().splitlines():
        if line.startswith("## ") and "Unreleased" not in line:
            assert re.fullmatch(r"## \[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", line), line
        if line.startswith("### "):
            assert line.removeprefix("### ") in known, line
