"""``spkg agent``: what the commands print, from the documents that the agent answers with."""

from collections.abc import Iterator
from typing import Final

from spkg.common.documents import Document
from spkg.common.printable import amount, printable
from spkg.report.lines import Line, Tone, columns

__all__ = [
    "agent_config_lines",
    "agent_log_lines",
    "agent_status_lines",
    "parameter_lines",
    "transfer_lines",
]

TRANSFER_STATES: Final = {1: "waiting", 2: "running", 3: "done, to be reported"}
"""The states of GetQueuedTransfers (Table 41)."""


def agent_status_lines(status: Document) -> Iterator[Line]:
    """Yield what ``agent status`` prints."""
    url = status["acs_url"] or "no ACS is known"
    if not status["running"]:
        yield Tone.BAD, printable(status["reason"])
        yield Tone.PLAIN, f"  ACS: {url}"
    elif status["in_touch"]:
        yield Tone.GOOD, f"in touch with {url}"
    else:
        yield Tone.BAD, f"not in touch with {url}: {status['reason']}"
    last, coming = status["last_session"], status["next_session"]
    if last is not None:
        end = "" if last["reason"] is None else f", {last['reason']}"
        causes = ", ".join(last["events"]) or "no event"
        yield Tone.PLAIN, f"  last session: {last['time'] or 'without a clock'} ({causes}){end}"
    if coming is not None:
        yield Tone.PLAIN, f"  next session: {coming}"
    if status["retry_count"]:
        yield Tone.PLAIN, f"  {amount(status['retry_count'], 'attempt')} failed since the last success"
    if status["acs_methods"] is not None:
        yield Tone.PLAIN, f"  methods of the ACS: {', '.join(status['acs_methods']) or 'none'}"
    if status["events"]:
        yield Tone.PLAIN, f"  waiting: {', '.join(map(event_text, status['events']))}"
    for transfer in status["transfers"]:
        yield Tone.PLAIN, f"  {transfer_text(transfer)}"
    trial = status["trial"]
    if trial is not None:
        limits = [] if trial["until"] is None else [f"until {trial['until']}"]
        limits += [] if trial["boots_left"] is None else [f"{amount(trial['boots_left'], 'boot')} left"]
        yield Tone.PLAIN, f"  package {trial['package'][:16]} is on trial: {', '.join(limits)}"
    for name in status["parameters_on_trial"]:
        yield Tone.PLAIN, f"  on trial: {name}"
    if status["connection_request_url"]:
        yield Tone.PLAIN, f"  connection requests: {status['connection_request_url']}"
    for option in status["options"]:
        ends = "" if option["expires"] is None else f", until {option['expires']}"
        yield Tone.PLAIN, f"  Option {option['name']}: {option['state']}{ends}"
    for problem in status["unsafe"]:
        yield Tone.BAD, f"  unsafe: {problem}"


def event_text(event: Document) -> str:
    """Return an event, such as ``M Reboot (key)``."""
    key = printable(event["command_key"])
    return f"{event['code']} ({key})" if key else str(event["code"])


def transfer_text(transfer: Document) -> str:
    """Return a transfer in one line."""
    key = printable(transfer["command_key"])
    due = "" if transfer["due"] is None else f", due {transfer['due']}"
    state = TRANSFER_STATES[transfer["state"]]
    return f"{transfer['direction']} {key or '(no CommandKey)'} of {transfer['url']}: {state}{due}"


def transfer_lines(transfers: list[Document]) -> Iterator[Line]:
    """Yield what ``agent transfers`` prints."""
    for transfer in transfers:
        yield Tone.PLAIN, transfer_text(transfer)
    if not transfers:
        yield Tone.PLAIN, "no transfer is waiting"


def parameter_lines(parameters: list[Document], *, attributes: bool) -> Iterator[Line]:
    """Yield what ``agent parameters`` prints."""
    rows = []
    for one in parameters:
        row = [one["name"], printable(one["value"]), one["type"], "writable" if one["writable"] else ""]
        if attributes:
            row += [("", "passive", "active")[one["notification"]], ", ".join(one["access"])]
        rows.append(tuple(row))
    for line in columns(rows):
        yield Tone.PLAIN, line


def agent_config_lines(values: list[Document]) -> Iterator[Line]:
    """Yield what ``agent config`` prints."""
    for line in columns([(one["name"], printable(str(one["value"])), one["from"]) for one in values]):
        yield Tone.PLAIN, line


def agent_log_lines(entries: list[Document]) -> Iterator[Line]:
    """Yield what ``agent log`` prints."""
    for entry in entries:
        time = entry["time"] or "-" * 20
        tone = Tone.BAD if entry["kind"] == "failure" else Tone.PLAIN
        yield tone, f"{time}  {entry['kind']:<9}  {printable(entry['text'])}"
