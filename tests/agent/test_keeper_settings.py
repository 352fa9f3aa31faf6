"""What the keeper may do, by the sample configuration: nothing of it comes from anybody else."""

from dataclasses import replace
from pathlib import Path

from spkg.agent.config import load_agent_config
from spkg.agent.keeper_settings import InstallTarget, keeper_settings
from spkg.agent.settings import AgentConfig, OtherRoot, ProviderKind, ProviderSettings
from tests.support.commands import run
from tests.support.kit import ROOT

SAMPLE = ROOT / "samples" / "agent" / "agent.toml"
TRIAL = ("--back-up=600", "--back-up-boots=3")


def made(config: AgentConfig) -> dict[str, InstallTarget]:
    settings = keeper_settings(config, program=("spkg",), directory=Path("keeper"), environment={})
    return dict(settings.targets)


def test_the_sample_says_what_is_installed_where_and_how() -> None:
    config = load_agent_config(SAMPLE)
    settings = keeper_settings(config, program=("spkg",), directory=Path("keeper"), environment={})
    common = ("--trust=/etc/spkg/operator.pem", "--device=/etc/spkg/device.toml", *TRIAL)

    assert {kind: target.options for kind, target in settings.targets.items()} == {
        "1": (*common, "--expect-role=software-upgrade", "--expect-role=software-recovery"),
        "2": (*common, "--expect-role=web-content"),
        "3": (*common, "--expect-role=vendor-configuration"),
        "X": (*common, "--expect-role=vendor"),
    }
    assert {target.root for target in settings.targets.values()} == {Path("/")}
    assert settings.reboot == ("/sbin/reboot",)
    assert settings.reset == ("/sbin/reset-to-factory",)
    assert {name: one.max_size for name, one in settings.uploads.items()} == {
        "1 Vendor Configuration File": 1 << 20,
        "2 Vendor Log File": 4 << 20,
    }


def test_each_option_is_one_that_apply_has(tmp_path: Path) -> None:
    target = made(load_agent_config(SAMPLE))["1"]
    options = [one.replace("/etc/spkg/", f"{tmp_path}/") for one in target.options]

    result = run("apply", "http://127.0.0.1/p", f"--root={tmp_path}", *options)

    assert result.exit_code == 9
    assert result.stderr == f"spkg: error: {tmp_path}/operator.pem: no such file or directory\n"


def test_other_roots_and_no_trial_and_any_role() -> None:
    config = load_agent_config(SAMPLE)
    install = replace(
        config.install,
        back_up=0,
        match_roles=False,
        options=("--ca-bundle", "/etc/files.pem"),
        web_content=OtherRoot(root=Path("/www")),
        vendor_configuration=OtherRoot(root=Path("/etc/vendor")),
    )
    config = replace(config, install=install)
    settings = keeper_settings(config, program=("spkg",), directory=Path("keeper"), environment={})

    assert {kind: str(target.root) for kind, target in settings.targets.items()} == {
        "1": "/",
        "2": "/www",
        "3": "/etc/vendor",
        "X": "/",
    }
    assert settings.targets["1"].options == (
        "--trust=/etc/spkg/operator.pem",
        "--device=/etc/spkg/device.toml",
        "--ca-bundle",
        "/etc/files.pem",
    )
    assert settings.upload_options == {"ca_bundle": Path("/etc/files.pem")}


def test_a_trial_without_boots_counts_none() -> None:
    config = load_agent_config(SAMPLE)
    config = replace(config, install=replace(config.install, back_up_boots=None))

    assert [one for one in made(config)["1"].options if "back-up" in one] == ["--back-up=600"]


def test_only_programs_are_providers_that_the_keeper_starts() -> None:
    providers = tuple(
        ProviderSettings(name=kind.value, kind=kind, command=("run",), path=None, paths=(f"{kind.value}.",))
        for kind in ProviderKind
    )
    config = replace(load_agent_config(SAMPLE), providers=providers)
    settings = keeper_settings(config, program=("spkg",), directory=Path("keeper"), environment={})

    assert settings.providers == {"command": ("run",), "script": ("run",)}
