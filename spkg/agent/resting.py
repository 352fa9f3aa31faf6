"""The status of an agent that is not running, from what lies on disk."""

import os
from typing import Final

from spkg.agent.settings import AgentConfig
from spkg.agent.state import FACT_URL_TOLD, STATE_FILE, AgentState
from spkg.agent.status import status_of_rest, transfer_documents
from spkg.common.documents import Document
from spkg.device import load_device
from spkg.errors import SpkgError

__all__ = ["resting_status"]

READING_PATIENCE: Final = 1.0
"""How many seconds to wait for an agent that is just starting or ending."""


def resting_status(config: AgentConfig) -> Document:
    """Return the status; what is wrong with a state that can't be read is its reason.

    Raises:
        FormatError: The device file is not valid.
        OSError: It can't be read.
    """
    device = load_device(config.device.file)
    path = config.state.directory / STATE_FILE
    status = status_of_rest(config, device, url=config.acs.url)
    if not os.path.lexists(path):
        return status
    try:
        # Only the agent moves a state aside: its log says so, and its next session is a BOOTSTRAP.
        with AgentState(path, patience=READING_PATIENCE, repair=False) as state:
            status |= {
                "acs_url": state.fact(FACT_URL_TOLD) or status["acs_url"],
                "events": [{"code": one.code, "command_key": one.command_key} for one in state.events()],
                "transfers": transfer_documents(state.transfers()),
            }
    except SpkgError as exc:
        status["reason"] += f", and its state can't be read: {exc}"
    return status
