"""What DHCP says about the ACS, taken over where the configuration lets it (3.1)."""

from spkg.agent.discovery import DhcpSettings
from spkg.agent.origins import FROM_DHCP, note_origin
from spkg.agent.settings import AgentConfig
from spkg.agent.state import FACT_URL_DHCP, AgentState
from spkg.agent.tree.names import PROVISIONING_CODE
from spkg.agent.tree.tree import Tree
from spkg.cwmp.events import Event, EventCode
from spkg.device import Device
from spkg.errors import RefusedError

__all__ = ["take_discovered"]


def take_discovered(
    found: DhcpSettings, config: AgentConfig, device: Device, state: AgentState, tree: Tree
) -> None:
    """Take over what DHCP says: it counts last, after the ACS and the configuration (3.1).

    Raises:
        RefusedError: The configuration does not allow it.
    """
    if not config.acs.dhcp:
        raise RefusedError(
            "the configuration does not let DHCP name the ACS",
            hint="set dhcp = true in [acs] where the link is safe",
            section="3.1",
        )
    values = {
        "ManagementServer.PeriodicInformEnable": None
        if found.periodic_inform_enable is None
        else str(int(found.periodic_inform_enable)),
        "ManagementServer.PeriodicInformInterval": None
        if not found.periodic_inform_interval
        else str(found.periodic_inform_interval),
        PROVISIONING_CODE: None if device.provisioning_code else found.provisioning_code,
    }
    with state.change() as change:
        if found.url is not None:
            change.fact(FACT_URL_DHCP, found.url)
        taken = {
            name: value for name, value in values.items() if value is not None and state.value(name) is None
        }
        for name, value in taken.items():
            change.set_value(name, value)
        note_origin(change, taken, FROM_DHCP)
    if tree.needs_bootstrap():
        with state.change() as change:
            change.add_event(Event(EventCode.BOOTSTRAP))
