"""What an agent takes: the CPU of a session, the way from its start to the Inform, and what it holds at rest.

Prints JSON: pairs of figures, ours and what they are compared with, in turn.  `run.py` calls it.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory
from time import perf_counter, process_time, sleep
from typing import Any, Final
from urllib.request import HTTPDigestAuthHandler, HTTPPasswordMgrWithDefaultRealm, build_opener

from spkg.agent.client import AcsConnection
from tests.support.acs_calls import download, set_values
from tests.support.agent_kit import CONFIG, Life
from tests.support.kit import ROOT, root
from tests.support.quiet_acs import quiet_acs

SESSIONS: Final = 100
"""How many sessions one side of a comparison has before the other."""
REST: Final = 3
"""Seconds after which an agent is at rest."""
DEVICE: Final = """
[device]
manufacturer = "2Wire"
oui = "00D09E"
product-class = "Gateway"
serial-number = "123456789"
software-version = "5.3"
"""
HEADERS: Final = {"Content-Type": 'text/xml; charset="utf-8"', "SOAPAction": ""}
IMPORTS: Final = (sys.executable, "-c", "import requests, lxml.etree")


class AnAcs:
    """Where the posts of an agent go."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/cwmp"


SERVER: Final = """
from tests.support.acs_calls import get_values
from tests.support.quiet_acs import QuietAcs

server = QuietAcs(lambda _number: (get_values("DeviceInfo.SoftwareVersion"),))
server.run(lambda: print(server.port, flush=True))
"""
"""A server in a process of its own: its CPU time is not ours."""


@contextmanager
def server() -> Iterator[int]:
    """Run it, and yield its port."""
    command = [sys.executable, "-c", SERVER]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        try:
            yield int(running.stdout.readline())
        finally:
            running.terminate()


def sessions(place: Path, pairs: int) -> list[tuple[float, float]]:
    """Return the CPU seconds of sessions of three posts: ours, and http.client's with the same octets."""
    posted: list[bytes] = []
    with server() as port:
        device = Life(place, AnAcs(port))  # type: ignore[arg-type] # it needs no more
        device.start()
        device.run(seconds=5)
        post = AcsConnection.post

        def noted(self: AcsConnection, envelopes: Sequence[bytes]) -> bytes:
            posted.append(b"".join(envelopes))
            return post(self, envelopes)

        AcsConnection.post = noted  # type: ignore[method-assign]
        device.agent.engine.force()
        device.run(seconds=5)
        AcsConnection.post = post  # type: ignore[method-assign]
        assert len(posted) == 3

        def ours() -> None:
            device.agent.engine.force()
            device.step()
            device.world.pass_time(2)

        def theirs() -> None:
            connection = HTTPConnection("127.0.0.1", port)
            for body in posted:
                connection.request("POST", "/cwmp", body, HEADERS if body else {})
                connection.getresponse().read()
            connection.close()

        found = []
        for _ in range(pairs + 1):
            took = []
            for work in (ours, theirs):
                begun = process_time()
                for _ in range(SESSIONS):
                    work()
                took.append((process_time() - begun) / SESSIONS)
            found.append((took[0], took[1]))
        device.agent.close()
    return found[1:]


def commits(place: Path) -> dict[str, int]:
    """Return how many transactions a session takes: without news, with a value set, with a Download."""
    calls: list[tuple[bytes, ...]] = []
    found: dict[str, int] = {}
    with quiet_acs(lambda _number: calls.pop() if calls else ()) as acs:
        device = Life(place, acs)  # type: ignore[arg-type] # it needs no more
        device.start()
        device.run(seconds=5)
        for name, one in (
            ("a session without news", ()),
            ("SetParameterValues", (set_values(("DeviceConfig.PersistentData", "x")),)),
            ("Download", (download("d", delay=3600),)),
        ):
            calls.append(one)
            before = device.agent.state.commits
            device.agent.engine.force()
            device.run(seconds=5)
            found[name] = device.agent.state.commits - before
        device.agent.close()
    return found


def prepare(place: Path, port: int) -> None:
    """Make the files of a gateway."""
    (place / "device.toml").write_text(DEVICE)
    (place / "ca.pem").write_bytes(root().pem)
    (place / "root").mkdir()
    secret = place / "request.password"
    secret.touch(0o600)
    secret.write_text("sesam")
    text = CONFIG.format(url=f"http://127.0.0.1:{port}/cwmp").replace(
        'listen = ""',
        'listen = "127.0.0.1:0"\nhost = "127.0.0.1"\nusername = "acs"\npassword-file = "request.password"',
    )
    (place / "agent.toml").write_text(text.replace("[install]", '[install]\nroot = "root"'))


def talker_of(service: int) -> int:
    """Return the process that an agent has started to talk to its ACS."""
    return int(Path(f"/proc/{service}/task/{service}/children").read_text().split()[0])


def memory_of(processes: Sequence[int]) -> float:
    """Return what processes hold together, in MiB: what they share, and the files in memory, counted once."""
    octets, files = 0, 0
    for one in processes:
        for line in Path(f"/proc/{one}/smaps_rollup").read_text().splitlines():
            octets += int(line.split()[1]) if line.startswith("Pss_Anon:") else 0
        shown = re.search(r"RssFile:\s+(\d+)", Path(f"/proc/{one}/status").read_text())
        files = max(files, int(shown[1]) if shown else 0)
    return (octets + files) / 1024


def switches_of(process: int) -> int:
    """Return how often the threads of a process were given a processor."""
    texts = [one.read_text() for one in Path(f"/proc/{process}/task").glob("*/status")]
    return sum(int(number) for text in texts for number in re.findall(r"ctxt_switches:\s+(\d+)", text))


def service(place: Path, pairs: int) -> dict[str, Any]:
    """Run the service, and return how long it takes to its Inform, and what it takes at rest."""
    informs: list[float] = []

    def came(_number: int) -> tuple[bytes, ...]:
        informs.append(perf_counter())
        return ()

    starts, requests, memory, wakes = [], [], 0.0, 0
    with quiet_acs(came) as acs:
        prepare(place, acs.port)
        for _ in range(pairs + 1):
            rmtree(place / "state", ignore_errors=True)
            informs.clear()
            begun = perf_counter()
            command = [sys.executable, "-m", "spkg", "agent", "run", "--config", "agent.toml"]
            with subprocess.Popen(command, cwd=place, stderr=subprocess.DEVNULL) as running:
                try:
                    while not informs:
                        sleep(0.001)
                    ours, begun = informs[0] - begun, perf_counter()
                    subprocess.run(IMPORTS, check=True)
                    starts.append((ours, perf_counter() - begun))
                    sleep(REST)
                    processes = (running.pid, talker_of(running.pid))
                    memory = max(memory, memory_of(processes))
                    before = sum(map(switches_of, processes))
                    sleep(REST)
                    wakes = max(wakes, sum(map(switches_of, processes)) - before)
                    informs.clear()
                    asked = ask(place)
                    while not informs:
                        sleep(0.001)
                    requests.append(max(0.0, informs[0] - asked))
                finally:
                    running.terminate()
    return {"start to Inform": starts[1:], "request to Inform": requests, "memory": memory, "wakes": wakes}


def ask(place: Path) -> float:
    """Ask for a connection, and return when that was answered."""
    document = subprocess.run(
        [sys.executable, "-m", "spkg", "agent", "status", "--config", "agent.toml", "--json"],
        cwd=place,
        capture_output=True,
        check=True,
    ).stdout
    url = json.loads(document)["connection_request_url"]
    known = HTTPPasswordMgrWithDefaultRealm()
    known.add_password(None, url, "acs", "sesam")
    with build_opener(HTTPDigestAuthHandler(known)).open(url) as answer:
        answer.read()
    return perf_counter()


def main() -> None:
    """Measure and print."""
    pairs = int(sys.argv[1])
    with TemporaryDirectory() as one, TemporaryDirectory() as two, TemporaryDirectory() as three:
        found = {"three posts": sessions(Path(one), pairs), "commits": commits(Path(two))}
        json.dump(found | service(Path(three), pairs), sys.stdout)


if __name__ == "__main__":
    main()
