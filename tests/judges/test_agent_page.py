"""The page of ``agent status --html`` in a browser: light and dark, wide and narrow; nothing is loaded."""

from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, Final

import pytest

from spkg.report.agent_page import agent_page
from tests.judges.programs import must
from tests.support.agent_statuses import FULL, STATUS
from tests.support.pictures import Pixel, is_text, pixels
from tests.support.sampling import few

FLAGS: Final = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
ENTRIES: Final[list[dict[str, Any]]] = [
    {"time": "2026-01-31T12:00:00Z", "kind": "session", "text": "begins: 2 PERIODIC"},
    {"time": None, "kind": "failure", "text": f"session: https://acs.example.net/{'x' * 300}: no answer"},
]
pytestmark = [pytest.mark.judge("chromium"), pytest.mark.part("judges")]


def browse(place: Path, page: str, *more: str) -> str:
    """Show a page in a browser that knows nothing yet, and return what that prints."""
    (place / "page.html").write_text(page, encoding="utf-8")
    url = (place / "page.html").as_uri()
    return must("chromium", *FLAGS, f"--user-data-dir={place / 'browser'}", *more, url, cwd=place).text


def drawn(place: Path, page: str, width: int, *more: str) -> tuple[int, list[Pixel]]:
    """Return the width of a screenshot, and its pixels."""
    picture = place / "page.png"
    browse(place, page, f"--screenshot={picture}", f"--window-size={width},400", *more)
    return pixels(picture.read_bytes())


@pytest.mark.parametrize("width", few([900, 500], every=2, part="judges"))
@pytest.mark.parametrize("dark", few([False, True], every=2, first=1, part="judges"), ids=["light", "dark"])
def test_the_page_is_drawn_as_the_reader_likes_it(tmp_path: Path, width: int, *, dark: bool) -> None:
    page = agent_page(FULL, ENTRIES, "2026-01-31T12:00:05Z")

    found_width, found = drawn(tmp_path, page, width, *["--force-dark-mode"] * dark)

    (ground, often), *_ = Counter(found).most_common(1)
    texts = [index for index, one in enumerate(found) if is_text(one, ground)]
    assert found_width == width
    assert (max(ground) < 64) if dark else (min(ground) > 240)
    assert often > len(found) * 0.8
    assert len(texts) > len(found) * 0.01
    # There is a margin on both sides, so nothing is cut off; and what is not in touch is red.
    columns = {index % width for index in texts}
    assert min(columns) >= 10
    assert max(columns) < width - 10
    assert any(red > green + 80 and red > blue + 60 for red, green, blue in found)


@pytest.mark.parametrize("status", [STATUS, FULL], ids=["in touch", "not in touch"])
def test_the_browser_has_nothing_to_correct(tmp_path: Path, status: dict[str, Any]) -> None:
    shown = browse(tmp_path, agent_page(status, ENTRIES, None), "--dump-dom")

    words = "in touch" if status["in_touch"] else "not in touch"
    assert f"<title>Gateway 123456789: {words}</title>" in shown
    assert shown.count("<h2>") == shown.count("<table>") == agent_page(status, ENTRIES, None).count("<h2>")


class Busybody(BaseHTTPRequestHandler):
    """Has nothing, and counts who asks."""

    asked = 0

    def do_GET(self) -> None:
        type(self).asked += 1
        self.send_error(404)

    def log_message(self, *_words: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Busybody) as found:
        Busybody.asked = 0
        Thread(target=found.serve_forever, daemon=True).start()
        yield found
        found.shutdown()


@pytest.mark.part("judges", turns=True, few=3)
def test_the_page_loads_nothing_even_if_its_texts_are_markup(
    tmp_path: Path, server: ThreadingHTTPServer
) -> None:
    url = f"http://127.0.0.1:{server.server_port}/x"
    image = f'<img src="{url}"><script>fetch("{url}")</script>'
    text = {
        "reason": image,
        "acs_url": image,
        "unsafe": [image],
        "device": dict.fromkeys(STATUS["device"], image),
    }
    page = agent_page(FULL | text, [{"time": image, "kind": image, "text": image}], image)

    browse(tmp_path, page, "--dump-dom")
    assert Busybody.asked == 0
    # If something slipped through, the page would still say that nothing is to be loaded.
    browse(tmp_path, page.replace("</body>", f"{image}</body>"), "--dump-dom")
    assert Busybody.asked == 0
    browse(tmp_path, f"<!doctype html><title>x</title>{image}", "--dump-dom")
    assert Busybody.asked > 0
