"""The page of the operator in a real browser: by keyboard, light and dark; nothing comes from elsewhere."""

import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest

from spkg.common.times import write_time
from tests.support.browser import Browser, browsing
from tests.support.pictures import is_text, pixels
from tests.support.sampling import few
from tests.support.service_kit import ALL, READER, request, running

pytestmark = [pytest.mark.judge("chromium"), pytest.mark.part("judges")]
BEGIN: Final = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
END: Final = write_time(BEGIN + timedelta(days=40))
OPTION: Final[dict[str, Any]] = {
    "ident": "IPTV",
    "mode": "EnableWithExpiration",
    "duration": 40,
    "duration-units": "Days",
    "start-date": write_time(BEGIN),
}
MARKUP = "<img src=x>"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the page of a service is that has a few vouchers."""
    with running(tmp_path_factory.mktemp("s")) as (port, _):
        for number in ("1", MARKUP):
            device = {"oui": "00D09E", "product_class": "Gateway", "serial_number": number}
            body = json.dumps({"device": device, "options": [OPTION]}).encode()
            assert request(port, "POST", "/v1/vouchers", body).status == 201
        done = request(
            port, "POST", "/v1/batches?batch=may&offer=tv", b"oui,product_class,serial_number\n00D09E,G,7\n"
        )
        assert done.status == 200
        yield f"http://127.0.0.1:{port}/"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browsing(tmp_path_factory.mktemp("b")) as found:
        yield found


def shown(browser: Browser, place: str) -> str:
    return str(browser.evaluate(f"document.getElementById('{place}').innerText"))


def enter(browser: Browser, url: str, token: str = ALL, **how: Any) -> None:
    """Open the page, and give it a token by the keyboard alone."""
    browser.open(url, **how)
    browser.evaluate("sessionStorage.clear()")
    for _ in range(2):  # the link to the contents, then the token
        browser.press("Tab")
    assert browser.evaluate("document.activeElement.id") == "token"
    browser.type(token)
    browser.press("Enter")
    browser.until("document.activeElement.id === 'device'")


def test_a_device_is_searched_by_the_keyboard(browser: Browser, url: str) -> None:
    enter(browser, url, READER)
    browser.type("00D09E/Gateway/1")
    browser.press("Enter")
    browser.until("document.querySelector('#device-found td')")

    text = shown(browser, "device-found")

    assert "00D09E / Gateway / 1" in text
    assert "IPTV" in text
    assert END in text
    assert browser.evaluate("document.querySelectorAll('#device-found th[scope=col]').length") == 8


def test_renewals_batches_and_the_journal_are_shown(browser: Browser, url: str) -> None:
    enter(browser, url)
    for place in ("batches", "journal"):
        browser.evaluate(f"document.getElementById('{place}').focus()")
        browser.press("Enter")
        browser.until(f"document.querySelector('#{place}-found td')")
    browser.evaluate("document.getElementById('within').value = '90d'")
    browser.evaluate("document.querySelector('#renewals button').focus()")
    browser.press("Enter")
    browser.until("document.querySelector('#renewals-found td')")

    assert END in shown(browser, "renewals-found")
    assert "may" in shown(browser, "batches-found")
    assert "reserve" in shown(browser, "journal-found")
    assert "shop" in shown(browser, "journal-found")


def test_without_a_valid_token_the_page_says_what_to_do(browser: Browser, url: str) -> None:
    enter(browser, url, "wrong")
    browser.type("1")
    browser.press("Enter")
    browser.until("document.getElementById('status').className === 'bad'")

    assert shown(browser, "status") == "Give a token with the scope read."
    assert browser.evaluate("document.activeElement.id") == "token"


def test_a_slash_goes_to_the_search_and_what_is_unknown_is_said(browser: Browser, url: str) -> None:
    enter(browser, url)
    browser.evaluate("document.getElementById('journal').focus()")
    browser.press("/")
    assert browser.evaluate("document.activeElement.id") == "device"
    browser.type("unknown")
    browser.press("Enter")
    browser.until("document.getElementById('device-found').innerText")

    assert shown(browser, "device-found") == "Nothing found."


def test_markup_in_the_ledger_is_text_and_nothing_comes_from_elsewhere(browser: Browser, url: str) -> None:
    browser.requested.clear()
    browser.complaints.clear()
    enter(browser, url)
    browser.type(MARKUP)
    browser.press("Enter")
    browser.until("document.querySelector('#device-found td')")

    assert MARKUP in shown(browser, "device-found")
    assert browser.evaluate("document.querySelectorAll('main img').length") == 0
    assert {one for one in browser.requested if not one.startswith((url, "data:"))} == set()
    assert browser.complaints == []


def test_the_policy_of_the_page_forbids_what_is_not_its_own(browser: Browser, url: str) -> None:
    browser.open(url)
    browser.complaints.clear()
    browser.evaluate("document.body.append(Object.assign(document.createElement('img'), {src: '/healthz'}))")
    browser.evaluate(
        "document.body.append(Object.assign(document.createElement('script'), {text: 'window.odd = 1'}))"
    )
    browser.until("true")

    assert browser.evaluate("window.odd") is None
    assert any("Content Security Policy" in one for one in browser.complaints)


@pytest.mark.parametrize("width", few([400, 1000], every=2, part="judges"))
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_page_is_drawn_as_the_reader_likes_it(
    browser: Browser, url: str, width: int, *, dark: bool
) -> None:
    enter(browser, url, dark=dark, width=width)
    browser.type("00D09E/Gateway/1")
    browser.press("Enter")
    browser.until("document.querySelector('#device-found td')")

    found_width, found = pixels(browser.screenshot())

    (ground, often), *_ = Counter(found).most_common(1)
    texts = [index for index, one in enumerate(found) if is_text(one, ground)]
    assert found_width == width
    assert (max(ground) < 64) if dark else (min(ground) > 240)
    assert often > len(found) * 0.7
    assert len(texts) > len(found) * 0.005
    assert min(index % width for index in texts) >= 10
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    heights = browser.evaluate("[...document.querySelectorAll('th')].map((one) => one.offsetHeight)")
    assert max(heights) < 40, "a title of one word takes one line"


def test_the_page_is_of_use_to_those_who_do_not_see_it(browser: Browser, url: str) -> None:
    browser.open(url)

    unnamed = browser.evaluate(
        "[...document.querySelectorAll('input, select')].filter((one) => !one.labels.length).length"
    )
    headings = browser.evaluate(
        "[...document.querySelectorAll('h1, h2')].map((one) => one.tagName).join(' ')"
    )

    assert unnamed == 0
    assert headings == "H1 H2 H2 H2 H2"
    assert browser.evaluate("document.documentElement.lang") == "en"
    assert browser.evaluate("document.querySelector('[role=status]').getAttribute('aria-live')") == "polite"
