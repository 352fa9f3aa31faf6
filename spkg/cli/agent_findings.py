"""What ``spkg agent check`` finds: what the configuration names, and how far the ACS can be reached."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from spkg.cli.app import usage_problem
from spkg.common.printable import amount
from spkg.errors import HostError, SpkgError, UsageError, os_problem

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from spkg.agent.settings import AgentConfig
    from spkg.device import Device

__all__ = ["contact_of", "findings_of"]


def findings_of(
    config: "AgentConfig", *, clock_set: bool, environment: "Mapping[str, str]"
) -> Iterator[tuple[str, str]]:
    """Yield what is right and wrong with a configuration.

    Args:
        config: The configuration.
        clock_set: Whether the clock of this device has been set.
        environment: What the programs of the device find in their environment.
    """
    from shutil import which

    from spkg.agent.assembly import agent_identity
    from spkg.agent.rights import directory_problems
    from spkg.agent.service import passwords_of
    from spkg.agent.status import unsafe_settings
    from spkg.device import load_device

    device = load_device(config.device.file)
    identity = agent_identity(device)
    yield "ok", f"device {identity.oui}-{identity.product_class}-{identity.serial_number}"
    try:
        names = passwords_of(config)
        yield "ok", f"{amount(len(names), 'password file')} can be read by the owner alone"
    except HostError as exc:
        yield "error", str(exc)
    for problem in directory_problems(config):
        yield "error", problem
    yield from _acs_files(config)
    yield from _trust(config)
    for name, program in (("reboot", config.reboot), ("factory-reset", config.factory_reset)):
        if not program:
            kind = "warning"
            yield kind, f"commands.{name} is not set: the device will not do it"
        elif which(program[0]) is None:
            yield "error", f"commands.{name}: {program[0]} does not exist or is not executable"
    yield from _places(config)
    yield from _providers(config, device, environment)
    if (config.back_up_parameters or config.install.back_up_boots) and not config.install.back_up:
        yield "warning", "nothing is on trial: back-up in [install] is 0"
    if config.acs.url is None and not config.acs.dhcp:
        yield "warning", "no ACS is known: set url in [acs], or dhcp = true"
    if config.listener.address is not None and config.listener.password_file is None:
        yield "warning", "connection requests are refused until the ACS sets a password for them"
    if not clock_set:
        yield "warning", "the clock of this device has not been set"
    for problem in unsafe_settings(config, config.acs.url or ""):
        yield "warning", problem


def _places(config: "AgentConfig") -> Iterator[tuple[str, str]]:
    """Yield which roots, files and programs do not exist, and which interface has no address."""
    from shutil import which

    from spkg.agent.addresses import interface_without_address

    install = config.install
    roots = {"install.root": install.root}
    for name, other in (
        ("web-content", install.web_content),
        ("vendor-configuration", install.vendor_configuration),
    ):
        if other is not None:
            roots[f"install.{name}"] = other.root
    for name, root in roots.items():
        if not root.is_dir():
            yield "error", f"{name}: {root} does not exist or is not a directory"
    for one in config.transfers.uploads:
        if one.file is not None and not one.file.exists():
            yield "warning", f"upload {one.file_type!r}: {one.file} does not exist"
        elif one.command and which(one.command[0]) is None:
            yield "error", f"upload {one.file_type!r}: {one.command[0]} does not exist or is not executable"
    version = config.device.version_file
    if version is not None and not version.exists():
        yield "warning", f"device.version-file: {version} does not exist"
    interface = interface_without_address(config.listener)
    if interface is not None:
        yield "warning", f"connection-requests.host: {interface} has no IPv4 address now"


def _providers(
    config: "AgentConfig", device: "Device", environment: "Mapping[str, str]"
) -> Iterator[tuple[str, str]]:
    """Yield whether providers can be reached, and what is wrong with their answers."""
    from shutil import which
    from time import monotonic, sleep

    from spkg.agent.provider_check import provider_problems
    from spkg.agent.settings import ProviderKind

    programs = {ProviderKind.COMMAND, ProviderKind.SCRIPT}
    missing = {
        one.name: one.command[0]
        for one in config.providers
        if one.kind in programs and which(one.command[0]) is None
    }
    for name, program in missing.items():
        yield "error", f"provider {name}: {program} is not executable"
    others = tuple(one for one in config.providers if one.name not in missing)
    problems = provider_problems(
        replace(config, providers=others), device, environment=environment, clock=monotonic, sleep=sleep
    )
    for problem in problems:
        yield "warning", problem
    if len(others) > len(problems):
        yield "ok", f"{amount(len(others) - len(problems), 'provider')} can be asked"


def _acs_files(config: "AgentConfig") -> Iterator[tuple[str, str]]:
    """Yield whether the files for TLS with the ACS can be used."""
    from time import monotonic

    from spkg.agent.client import AcsClient

    try:
        AcsClient(config.acs, monotonic).load()
    except HostError as exc:
        yield "error", f"acs: {exc}"
    except OSError as exc:
        yield "error", f"acs: {os_problem(exc)}"


def _trust(config: "AgentConfig") -> Iterator[tuple[str, str]]:
    """Yield whom packages and vouchers are trusted from, and whether that can be used."""
    install, vouchers = config.install, config.vouchers
    works: list[tuple[str, Callable[[], Iterator[tuple[str, str]]]]] = []
    if install.trust:
        works.append(("install", lambda: _anchors(install.trust)))
    works.append(("install.options", lambda: _options(install.options, anchored=bool(install.trust))))
    if vouchers is not None and vouchers.trust:
        works.append(("vouchers", lambda: _anchors(vouchers.trust)))
    for what, work in works:
        try:
            for kind, text in work():
                yield kind, f"{what}: {text}"
        except SpkgError as exc:
            yield "error", f"{what}: {exc}"
        except OSError as exc:
            yield "error", f"{what}: {os_problem(exc)}"
        except click.UsageError as exc:
            yield "error", f"{what}: {usage_problem(exc)}"


def _anchors(paths: "Sequence[Path]") -> Iterator[tuple[str, str]]:
    """Yield how many certificates are trusted."""
    from spkg.trust.trust_files import load_trust

    found = load_trust(paths)
    yield "ok", amount(len(found.certificates), "trusted certificate")
    for finding in found.findings:
        yield "warning", finding.message


def _options(words: "Sequence[str]", *, anchored: bool) -> Iterator[tuple[str, str]]:
    """Read options as ``spkg apply`` does, and the lists and the policy that they name."""
    from spkg.cli.apply import apply
    from spkg.trust.certificate_files import load_revocation_lists
    from spkg.trust.policy_file import load_policy_settings

    stated = apply.make_context("apply", ["-", "--root=/", *words]).params
    if stated["policy"] is not None:
        named = {"anchors": anchored or bool(stated["trust"]), "crls": bool(stated["crls"])}
        overridden = frozenset(name for name, given in named.items() if given)
        for finding in load_policy_settings(stated["policy"], overridden=overridden).findings:
            yield "warning", finding.message
    lists = [one for path in stated["crls"] for one in load_revocation_lists(path)]
    if lists:
        yield "ok", amount(len(lists), "revocation list")


def contact_of(config: "AgentConfig") -> Iterator[tuple[str, str]]:
    """Yield how far the ACS can be reached."""
    from time import monotonic

    from spkg.agent.client import AcsClient
    from spkg.agent.contact_check import check_contact
    from spkg.agent.service import passwords_of
    from spkg.agent.tree.names import ACS_PASSWORD
    from spkg.device import load_device

    if config.acs.url is None:
        raise UsageError("--connect needs url in [acs]")
    client = AcsClient(config.acs, monotonic)
    password = passwords_of(config).get(ACS_PASSWORD, "")
    device = load_device(config.device.file)
    username = config.acs.username or f"{device.oui}-{device.serial_number}"
    for step in check_contact(client, config.acs.url, username, password):
        yield ("ok" if step.passed else "error"), f"{step.kind.value}: {step.text}"
