"""What the keeper may do: taken from the configuration, before anybody else can have a say."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from spkg.agent.settings import AgentConfig, ProviderKind, UploadSource

__all__ = ["TYPE_ROLES", "InstallTarget", "KeeperSettings", "keeper_settings", "server_options"]

TYPE_ROLES: Final = {
    "1": ("software-upgrade", "software-recovery"),
    "2": ("web-content",),
    "3": ("vendor-configuration",),
    "X": ("vendor",),
}
"""The roles of the packages of each FileType (Table 27, E.4.12)."""
SERVER_SWITCHES: Final = {"--unsafe-basic": "unsafe_basic", "--no-clock": "no_clock"}
SERVER_OPTIONS: Final[Mapping[str, tuple[str, Callable[[str], Any]]]] = {
    "--ca-bundle": ("ca_bundle", Path),
    "--client-cert": ("client_cert", Path),
    "--client-key": ("client_key", Path),
    "--proxy": ("proxy", str),
}
"""The options of ``spkg apply`` that also hold for files that are sent, and the fields of a Login."""


@dataclass(frozen=True, kw_only=True)
class InstallTarget:
    """Where packages of a FileType are installed, and how."""

    root: Path
    options: tuple[str, ...] = ()
    """The options of ``spkg apply``, of the configuration alone: trust, device, trial, and others."""


@dataclass(frozen=True, kw_only=True)
class KeeperSettings:
    """All that the keeper may do."""

    program: tuple[str, ...]
    """The command that runs ``spkg``."""
    directory: Path
    """Where the files of a transfer are: nobody else can write there."""
    environment: Mapping[str, str]
    targets: Mapping[str, InstallTarget] = field(default_factory=dict)
    """By the first word of a FileType: 1, 2, 3, or X."""
    schemes: tuple[str, ...] = ("https", "http", "ftp", "tftp")
    uploads: Mapping[str, UploadSource] = field(default_factory=dict)
    """By FileType."""
    upload_options: Mapping[str, Any] = field(default_factory=dict)
    """How servers are reached that files are sent to: fields of a Login."""
    user: tuple[int, int] | None = None
    """The user and group that talk to servers; None to stay who this is."""
    reboot: tuple[str, ...] = ()
    reset: tuple[str, ...] = ()
    providers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The commands of providers, by name."""


def keeper_settings(
    config: AgentConfig,
    *,
    program: tuple[str, ...],
    directory: Path,
    environment: Mapping[str, str],
    user: tuple[int, int] | None = None,
) -> KeeperSettings:
    """Return what the configuration lets the keeper do.

    Args:
        config: The configuration.
        program: The command that runs ``spkg``.
        directory: As in :class:`KeeperSettings`.
        environment: As in :class:`KeeperSettings`.
        user: As in :class:`KeeperSettings`.
    """
    install = config.install
    trial = [] if not install.back_up else [f"--back-up={install.back_up:.0f}"]
    if install.back_up and install.back_up_boots is not None:
        trial.append(f"--back-up-boots={install.back_up_boots}")
    others = {"2": install.web_content, "3": install.vendor_configuration}
    targets = {}
    for kind, roles in TYPE_ROLES.items():
        other = others.get(kind)
        targets[kind] = InstallTarget(
            root=install.root if other is None else other.root,
            options=(
                *(f"--trust={path}" for path in install.trust),
                f"--device={config.device.file}",
                *trial,
                *(f"--expect-role={role}" for role in roles if install.match_roles),
                *install.options,
            ),
        )
    return KeeperSettings(
        program=program,
        directory=directory,
        environment=environment,
        targets=targets,
        schemes=config.transfers.schemes,
        uploads={one.file_type: one for one in config.transfers.uploads},
        upload_options=server_options(install.options),
        user=user,
        reboot=config.reboot,
        reset=config.factory_reset,
        providers={
            one.name: one.command
            for one in config.providers
            if one.kind in {ProviderKind.COMMAND, ProviderKind.SCRIPT}
        },
    )


def server_options(options: Sequence[str]) -> dict[str, Any]:
    """Return how servers are reached according to options of ``spkg apply``, as fields of a Login."""
    found: dict[str, Any] = {}
    words = iter(options)
    for word in words:
        name, equals, value = word.partition("=")
        if name in SERVER_SWITCHES:
            found[SERVER_SWITCHES[name]] = True
        elif name in SERVER_OPTIONS:
            key, kind = SERVER_OPTIONS[name]
            found[key] = kind(value if equals else next(words, ""))
    return found
