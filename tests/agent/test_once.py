"""What is due, once: sessions, transfers and restarts, and how it ends."""

import threading
from pathlib import Path

import pytest

import spkg.agent.once
from spkg.agent.once import Handed, run_once
from spkg.cwmp.events import Event
from spkg.errors import TransferError
from tests.support.acs import Answer, Plan, ScriptedAcs, request, session
from tests.support.acs_calls import download
from tests.support.agent_kit import APPLIED, Life


def device_of(directory: Path, acs: ScriptedAcs) -> Life:
    return Life(directory, acs)


def once(device: Life, *, handed: Handed | None = None, force: bool = False, wait: float = 0) -> None:
    run_once(
        device.agent.engine,
        device.world.outside(),
        handed=handed or Handed(),
        force=force,
        wait=wait,
        sleep=device.world.pass_time,
    )


def rest(device: Life) -> None:
    """End the process; the next one begins in the same boot."""
    device.agent.close()
    device.agent = device._begin()


def test_with_nothing_due_there_is_no_session(tmp_path: Path) -> None:
    with ScriptedAcs(session()) as acs:
        device = device_of(tmp_path, acs)
        once(device)
        rest(device)

        once(device)

        assert acs.methods == ["Inform", ""]
        rest(device)
        once(device, force=True)
        assert acs.methods == ["Inform", ""] * 2
        device.agent.close()


def test_it_waits_as_long_as_it_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spkg.agent.once, "TICK_OF_ONCE", 50)
    with ScriptedAcs(session()) as acs:
        device = device_of(tmp_path, acs)
        once(device)
        rest(device)

        once(device, wait=700)

        assert len(device.informs()) == 2
        device.agent.close()


@pytest.mark.parametrize("plan", [lambda _post: Answer(status=500)])
def test_a_session_that_breaks_is_said(tmp_path: Path, plan: Plan) -> None:
    with ScriptedAcs(plan) as acs:
        device = device_of(tmp_path, acs)

        with pytest.raises(TransferError, match="500"):
            once(device, wait=3600)

        assert len(device.informs()) == 1
        device.agent.close()


def test_what_can_be_done_about_it_is_said_too(tmp_path: Path) -> None:
    challenge = (("WWW-Authenticate", 'Basic realm="acs"'),)
    with ScriptedAcs(lambda _post: Answer(status=401, headers=challenge)) as acs:
        device = device_of(tmp_path, acs)

        with pytest.raises(TransferError) as caught:
            once(device)

        assert caught.value.hint == "use an https URL, or have the server ask for digest"
        device.agent.close()


def test_a_transfer_is_awaited_and_its_reboot_asked_for(tmp_path: Path) -> None:
    with ScriptedAcs(session(download())) as acs:
        device = device_of(tmp_path, acs)
        started = device.keeper.start_apply

        def start(**given: object) -> None:
            started(**given)
            device.keeper.end(device.world.boot_id, APPLIED)

        device.keeper.start_apply = start  # it ends at once

        once(device)

        assert device.keeper.names() == ["apply", "reboot"]
        assert acs.methods == ["Inform", "", "DownloadResponse"]
        device.agent.close()


def test_a_reboot_is_the_last_thing(tmp_path: Path) -> None:
    with ScriptedAcs(session(request("Reboot", "<CommandKey>k</CommandKey>"))) as acs:
        device = device_of(tmp_path, acs)

        once(device)

        assert device.keeper.names() == ["reboot"]
        device.agent.close()


def test_what_other_threads_want_is_done_in_the_one_that_decides(tmp_path: Path) -> None:
    handed = Handed()
    done: list[threading.Thread] = []
    provider = threading.Thread(target=lambda: handed.call(lambda: done.append(threading.current_thread())))
    provider.start()
    provider.join()
    with ScriptedAcs(session()) as acs:
        device = device_of(tmp_path, acs)

        once(device, handed=handed)

        assert done == [threading.current_thread()]
        device.agent.close()


def test_an_event_that_comes_last_is_kept_for_the_next_call(tmp_path: Path) -> None:
    with ScriptedAcs(session()) as acs:
        device = device_of(tmp_path, acs)
        handed = Handed()
        event = Event("X 00D09E RadarHit")
        handed.call(lambda: handed.call(lambda: device.agent.engine.raise_event(event)))
        once(device)
        rest(device)

        once(device, handed=handed)
        rest(device)
        once(device)

        assert device.events() == [("X 00D09E RadarHit", "")]
        device.agent.close()
