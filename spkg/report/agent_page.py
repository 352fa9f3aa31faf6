"""``spkg agent status --html``: one self-contained page, which loads nothing and runs nothing."""

from collections.abc import Iterable
from html import escape
from typing import Final

from spkg.common.documents import Document
from spkg.report.agent import event_text, transfer_text

__all__ = ["agent_page"]

STYLE: Final = """
:root { color-scheme: light dark; --good: #1a7f37; --bad: #b3261e; --line: #8884; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.4rem; margin-bottom: .25rem; } h2 { font-size: 1.05rem; margin-top: 2rem; }
.good { color: var(--good); } .bad { color: var(--bad); }
@media (prefers-color-scheme: dark) { :root { --good: #6fdd8b; --bad: #ff8a80; } }
table { border-collapse: collapse; width: 100%; table-layout: fixed; }
th, td { text-align: left; vertical-align: top; padding: .35rem .75rem .35rem 0;
         border-bottom: 1px solid var(--line); overflow-wrap: anywhere; }
th { font-weight: 600; width: 13.5rem; }
@media (max-width: 36rem) {
  body { margin: 1rem auto; } th, td { display: block; width: auto; }
  th { border-bottom: 0; padding-bottom: 0; } td { padding-top: 0; }
}
""".strip()
POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"
"""What a browser may load: nothing."""
NOTHING: Final = "none"
TIME_UNKNOWN: Final = "an unknown time"


def agent_page(status: Document, entries: Iterable[Document], when: str | None) -> str:
    """Return the page.

    Args:
        status: What ``agent status --json`` prints.
        entries: The last entries of the log, the oldest first.
        when: The time of the page; None without a clock.
    """
    good = status["running"] and status["in_touch"]
    device = status["device"]
    if good:
        headline = f"In touch with {status['acs_url']}"
    elif status["running"]:
        headline = f"Not in touch: {status['reason']}"
    else:
        headline = f"{status['reason'][:1].upper()}{status['reason'][1:]}"
    last, trial = status["last_session"], status["trial"]
    sections = [
        _table(
            "Sessions",
            [
                ("Last session", NOTHING if last is None else _session(last)),
                ("Next session", status["next_session"] or NOTHING),
                ("Failed attempts", str(status["retry_count"])),
                ("Methods of the ACS", _methods(status["acs_methods"])),
                ("Waiting events", ", ".join(map(event_text, status["events"])) or NOTHING),
                ("Connection requests", status["connection_request_url"] or "not accepted"),
            ],
        ),
        _table(
            "Transfers",
            [
                (one["direction"], transfer_text(one).removeprefix(f"{one['direction']} "))
                for one in status["transfers"]
            ],
        ),
        _table(
            "On trial",
            [
                *([] if trial is None else [("Package", trial["package"])]),
                *([] if trial is None or trial["until"] is None else [("Until", trial["until"])]),
                *(
                    []
                    if trial is None or trial["boots_left"] is None
                    else [("Boots left", str(trial["boots_left"]))]
                ),
                *[("Parameter", name) for name in status["parameters_on_trial"]],
            ],
        ),
        _table(
            "Options",
            [
                (one["name"], one["state"] + (f", until {one['expires']}" if one["expires"] else ""))
                for one in status["options"]
            ],
        ),
        _table("Unsafe settings", [("Warning", problem) for problem in status["unsafe"]]),
        _table(
            "Last events",
            [(entry["time"] or "no clock", f"{entry['kind']}: {entry['text']}") for entry in entries],
        ),
    ]
    title = f"{device['product_class'] or 'Gateway'} {device['serial_number'] or ''}".strip()
    about = f"{device['oui'] or ''} · software {device['software_version'] or 'unknown'}"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        f"<title>{escape(title)}: {'in touch' if good else 'not in touch'}</title>\n"
        f"<style>\n{STYLE}\n</style>\n</head>\n<body>\n<h1>{escape(title)}</h1>\n"
        f"<p>{escape(about)}</p>\n"
        f'<p class="{"good" if good else "bad"}"><strong>{escape(headline)}</strong></p>\n'
        f"{''.join(sections)}<p><small>As of {escape(when or TIME_UNKNOWN)}</small></p>\n</body>\n</html>\n"
    )


def _methods(listed: list[str] | None) -> str:
    return "not asked" if listed is None else ", ".join(listed) or "none"


def _session(last: Document) -> str:
    causes = ", ".join(last["events"]) or "no event"
    end = "" if last["reason"] is None else f": {last['reason']}"
    return f"{last['time'] or 'without a clock'} ({causes}){end}"


def _table(heading: str, rows: list[tuple[str, str]]) -> str:
    """Return a section, or nothing if it has no rows."""
    if not rows:
        return ""
    body = "".join(f"<tr><th>{escape(name)}</th><td>{escape(text)}</td></tr>\n" for name, text in rows)
    return f"<h2>{escape(heading)}</h2>\n<table>\n{body}</table>\n"
