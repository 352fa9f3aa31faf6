"""The agent put together: from its configuration, its keeper and the outside to an engine that can run."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from spkg.agent.addresses import RequestAddress
from spkg.agent.answers import AgentAnswers
from spkg.agent.client import AcsClient
from spkg.agent.clock import Outside
from spkg.agent.discovered import take_discovered
from spkg.agent.dispatch import Dispatcher
from spkg.agent.engine import Engine
from spkg.agent.errands import Errands
from spkg.agent.journal import LOG_FILE, Journal, LogEntry
from spkg.agent.keeper_client import KeeperClient
from spkg.agent.moments import Moments
from spkg.agent.option_watch import Options, OptionWatch
from spkg.agent.restarts import Restarts
from spkg.agent.rights import Rights
from spkg.agent.sessions import Sessions
from spkg.agent.settings import AgentConfig
from spkg.agent.state import FACT_PATH, STATE_FILE, AgentState
from spkg.agent.status import StatusDesk
from spkg.agent.transfer_rules import VoucherDownloads
from spkg.agent.transfers import TransferQueue
from spkg.agent.tree.builtin import TreeSurroundings
from spkg.agent.tree.names import ACS_URL, PROVISIONING_CODE, REQUEST_PASSWORD, REQUEST_USERNAME
from spkg.agent.tree.provider import ProviderNotice
from spkg.agent.tree.sources import open_sources
from spkg.agent.tree.tree import Tree
from spkg.agent.trial import ParameterTrials
from spkg.cwmp.events import raised_event
from spkg.cwmp.values import DeviceId
from spkg.device import Device
from spkg.errors import FormatError, SpkgError

__all__ = ["Agent", "agent_identity", "assemble"]

LOG_ENTRIES: Final = 200
"""How many entries of the log are in DeviceLog."""


@dataclass(frozen=True, kw_only=True)
class Agent:
    """An agent that can run."""

    engine: Engine
    tree: Tree
    state: AgentState
    answers: AgentAnswers
    status: StatusDesk
    journal: Journal
    requests: RequestAddress
    """Where connection requests are taken."""

    def credentials(self) -> tuple[str, str] | None:
        """Return the name and the password of connection requests; None where nobody is let in."""
        name = self.tree.setting(REQUEST_USERNAME)
        password = self.tree.setting(REQUEST_PASSWORD)
        return (name, password) if password else None

    def close(self) -> None:
        """End the connections to providers, and close the state."""
        self.tree.close()
        self.state.close()


def agent_identity(device: Device) -> DeviceId:
    """Return the DeviceId of an Inform (Table 34).

    Raises:
        FormatError: The device file does not state it.
    """
    facts = {
        "manufacturer": device.manufacturer or "",
        "oui": device.oui or "",
        "product_class": device.product_class or "",
        "serial_number": device.serial_number or "",
    }
    missing = [name.replace("_", "-") for name in ("oui", "serial_number") if not facts[name]]
    if missing:
        raise FormatError(f"the device file must state {' and '.join(missing)}", section="A.3.3.1")
    try:
        return DeviceId(**facts)
    except ValueError as exc:
        raise FormatError(f"the device file: {exc}", section="A.3.3.1") from exc


def assemble(
    config: AgentConfig,
    device: Device,
    *,
    keeper: KeeperClient,
    client: Callable[[], AcsClient],
    secrets: Mapping[str, str],
    options: Callable[[Callable[[str], object]], Options] | None,
    outside: Outside,
    rights: Rights,
    show: Callable[[LogEntry], object],
    call: Callable[[Callable[[], object]], None],
    look: Callable[[], object] = lambda: None,
    alive: Callable[[], object] = lambda: None,
    ending: Callable[[], bool] = lambda: False,
) -> Agent:
    """Put an agent together.

    Args:
        config: The configuration.
        device: The device file.
        keeper: Has the rights.
        client: Returns what reaches the ACS, as long as the clock is as it is.
        secrets: Passwords from files, by the names of their parameters.
        options: Returns the Options, given what takes notes; None without vouchers.
        outside: The clocks and the chance.
        rights: What this process may do.
        show: Is given each entry of the log.
        call: Has something done in the thread that decides; from any thread.
        look: Has the agent see before long what has changed; from any thread.
        alive: Called with each post of a session.
        ending: Whether the agent can wait no longer for the end of a session.

    Raises:
        SpkgError: A file of the configuration can't be used.
        OSError: One can't be read.
    """
    boot = outside.boot()

    def boot_clock() -> float:
        return outside.boot().seconds

    journal = Journal(config.state.directory / LOG_FILE, config.state.log_size, outside.when, show)
    state = AgentState(config.state.directory / STATE_FILE)
    if state.fact(FACT_PATH) is None:
        with state.change() as change:
            change.fact(FACT_PATH, f"/{outside.token()}")

    def address() -> str:
        url = tree.setting(ACS_URL)
        try:
            return (client().local_address(url) or "") if url else ""
        except SpkgError:
            return ""

    requests = RequestAddress(config.listener, state.fact(FACT_PATH) or "", address)

    desk = None if options is None else options(lambda text: journal.note("option", text, lasting=True))

    def code() -> str:
        return tree.setting(PROVISIONING_CODE)

    def network_time() -> datetime | None:
        assert config.vouchers is not None  # or there would be no desk
        return outside.network_time(config.vouchers.clock)

    def enabled() -> str:
        assert desk is not None
        return desk.enabled(network_time(), code())

    watch = OptionWatch(
        desk,
        time=lambda: None if desk is None else network_time(),
        code=code,
        note=lambda text: journal.note("failure", text, lasting=True),
    )

    def take_notice(notice: ProviderNotice) -> None:
        """Take what a provider says unasked, in a thread of its own."""
        if notice.event is None:
            look()  # and not at once, or who reports a change whenever he is asked would never be done
        else:
            call(lambda: _take_event(engine, journal, notice))

    tree = Tree(
        config,
        device,
        state,
        TreeSurroundings(
            boot_id=boot.identity,
            boot_clock=boot_clock,
            address=address,
            connection_request_url=requests.url,
            note=lambda text: journal.note("parameter", text, lasting=True),
            enabled_options=None if desk is None else enabled,
            device_log=lambda: "\n".join(str(one["text"]) for one in journal.last(LOG_ENTRIES)),
            secrets=secrets,
        ),
        sources=open_sources(
            config,
            keeper.start_provider,
            take_notice,
            boot_clock,
        ),
        clock=boot_clock,
    )

    def take_voucher(octets: bytes) -> tuple[int, str] | None:
        assert desk is not None
        try:
            return desk.take(octets, network_time(), code())
        finally:
            call(engine.look_at_options)

    transfers = TransferQueue(
        state,
        keeper,
        config.transfers,
        boot_id=boot.identity,
        clock=outside.moment,
        token=outside.token,
        back_up=config.install.back_up,
        vouchers=VoucherDownloads(oui=device.oui or "", take=None if desk is None else take_voucher),
        note=lambda text: journal.note("transfer", text, lasting=True),
    )
    restarts = Restarts(
        state,
        keeper,
        transfers,
        boot_id=boot.identity,
        clock=outside.moment,
        has_reset_command=bool(config.factory_reset),
        reset_providers=tree.reset_providers,
        note=lambda text: journal.note("restart", text, lasting=True),
    )
    trials = ParameterTrials(state, boot_id=boot.identity, clock=boot_clock)

    def answer_vouchers(octets: bytes) -> bytes | None:
        assert desk is not None
        try:
            return desk.answer(octets, network_time(), code())
        finally:
            call(engine.look_at_options)

    def see_provider() -> None:
        """End what another provider ends before anything else can change it back (C.2)."""
        if watch.is_stale:
            engine.look_at_options()

    dispatcher = Dispatcher(
        state=state,
        tree=tree,
        transfers=transfers,
        restarts=restarts,
        vouchers=None if desk is None else answer_vouchers,
        values_set=see_provider,
        boot_id=boot.identity,
        clock=outside.moment,
        note=lambda text: journal.note("call", text),
    )
    moments, errands = Moments(periodic_since=boot.seconds), Errands()
    sessions = Sessions(
        settings=config.acs,
        device=agent_identity(device),
        state=state,
        tree=tree,
        transfers=transfers,
        trials=trials,
        answer=dispatcher.answer,
        client=client,
        journal=journal,
        outside=outside,
        moments=moments,
        errands=errands,
        alive=alive,
        ending=ending,
    )
    engine = Engine(
        change_interval=config.acs.change_interval,
        sessions=sessions,
        moments=moments,
        errands=errands,
        state=state,
        tree=tree,
        transfers=transfers,
        trials=trials,
        restarts=restarts,
        options=watch,
        journal=journal,
        outside=outside,
    )
    status = StatusDesk(
        config=config,
        device=device,
        engine=engine,
        state=state,
        tree=tree,
        outside=outside,
        sources=StatusDesk.Sources(
            trial=lambda: keeper.package_on_trial("1") if config.install.back_up else None,
            options=list if desk is None else lambda: desk.options(network_time(), code()),
            connection_request_url=requests.url,
            confined=rights.confined,
            is_root=rights.is_root,
        ),
    )
    answers = AgentAnswers(
        engine=engine,
        tree=tree,
        state=state,
        status=status,
        journal=journal,
        discover=lambda found: take_discovered(found, config, device, state, tree),
    )
    return Agent(
        engine=engine,
        tree=tree,
        state=state,
        answers=answers,
        status=status,
        journal=journal,
        requests=requests,
    )


def _take_event(engine: Engine, journal: Journal, notice: ProviderNotice) -> None:
    """Take an event that a provider reports."""
    try:
        engine.raise_event(raised_event(notice.event or ""))
    except SpkgError as exc:
        journal.note("failure", f"provider {notice.provider}: {exc}", lasting=True)
