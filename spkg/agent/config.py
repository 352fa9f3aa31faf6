"""Reading the agent's configuration: TOML that nobody but the operator writes (docs/agent.md).

The ACS changes none of this: what it sets is in the agent's state, and goes before what is configured here.
"""

import re
import stat
from datetime import UTC, datetime
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from spkg.agent.config_values import PARAMETER_PATH, ConfigValues
from spkg.agent.settings import (
    AcsSettings,
    AgentConfig,
    BeforeBootClock,
    DeviceSettings,
    InformSettings,
    InstallSettings,
    ListenerSettings,
    OtherRoot,
    ProviderKind,
    ProviderSettings,
    StateSettings,
    TransferSettings,
    UploadSource,
    VoucherClock,
    VoucherSettings,
    WanAddress,
)
from spkg.agent.tree.names import ACS_URL, OWN_SETTINGS
from spkg.common.toml_document import Table, load_table
from spkg.download.url import Location
from spkg.errors import HostError, UsageError

__all__ = ["acs_url_problem", "load_agent_config"]

MAX_URL: Final = 256
"""The longest URL of an ACS, in characters (Table 61)."""
LEAST_TIMEOUT: Final = 30
"""The shortest wait for a response, in seconds (3.7.1.4)."""
MOST_RETRIES: Final = 65_535
AUTO: Final = "auto"
"""The address that packets to the ACS leave from."""
SCHEMES: Final = ("https", "http", "ftp", "tftp")
"""The protocols of transfers (Table 27)."""
OWN_OPTIONS: Final = frozenset(
    {
        *("--root", "--device", "--back-up", "--back-up-boots", "--report", "--command-key", "--json"),
        *("--url-fd", "--size", "--dry-run", "--help", "-h"),
    }
)
"""The options of ``spkg apply`` that the agent states itself, or with which nothing would be installed."""
UPLOAD_TYPE: Final = re.compile(r"1 Vendor Configuration File|2 Vendor Log File|X [0-9A-F]{6} \S.{0,50}")
"""The FileTypes of Upload (A.4.1.5)."""


def load_agent_config(path: Path) -> AgentConfig:
    """Read a configuration file; paths in it are relative to where it lies.

    Raises:
        FormatError: It is not a configuration; all that is wrong is in the error.
        HostError: Anybody may write it: it says what the keeper starts as root.
        OSError: It can't be read.
    """
    if path.stat().st_mode & stat.S_IWOTH:
        raise HostError(
            f"{path}: anybody may write it, so it is not used",
            hint=f"chmod o-w {path}",
            section="3.1",
        )
    document = load_table(path)
    reader = _Reader(path.absolute().parent)
    config = AgentConfig(
        source=path,
        acs=reader.acs(document.table("acs")),
        inform=reader.inform(document.table("inform")),
        listener=reader.listener(document.table("connection-requests")),
        device=reader.device(document.table("device")),
        install=reader.install(document.table("install")),
        transfers=reader.transfers(document.table("transfers"), document.tables("upload")),
        vouchers=reader.vouchers(document.table("vouchers")) if "vouchers" in document else None,
        **reader.commands(document.table("commands")),
        back_up_parameters=reader.back_up(document.table("back-up")),
        providers=reader.providers(document.tables("provider")),
        state=reader.state(document.table("state")),
    )
    with reader.obstacles.collecting():
        document.expect("vouchers")
    reader.obstacles.raise_all()
    return config


def acs_url_problem(url: str) -> str | None:
    """Return why a text can't be the URL of an ACS; None if it can (3.1, Table 61)."""
    if len(url) > MAX_URL:
        return f"must have at most {MAX_URL} characters, got {len(url)}"
    if not url.isprintable() or not url.isascii() or " " in url:
        return "must be a URL of printable ASCII characters without blanks"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return f"must be a valid URL, got {url[:80]!r}"
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        return f"must begin with http:// or https:// and a host, got {url[:80]!r}"
    if "@" in parts.netloc:
        return "must have no user name or password; there are keys of their own for these"
    if port == 0:
        return "must have a port from 1 to 65535"
    try:
        Location.parse(url)  # as whatever posts there reads it
    except UsageError as exc:
        return f"must be one that can be reached: {exc.problem}"
    return None


class _Reader(ConfigValues):
    """Reads the tables of a document, and collects what is wrong in any of them."""

    def acs(self, table: Table) -> AcsSettings:
        url = self._text(table, "url")
        if url is not None and (problem := acs_url_problem(url)):
            self._wrong(table, "url", problem)
        return self._done(
            table,
            AcsSettings(
                url=url,
                username=self._text(table, "username", 256),
                password_file=self._path(table, "password-file"),
                ca_bundle=self._path(table, "ca-bundle"),
                client_certificate=self._path(table, "client-certificate"),
                client_key=self._path(table, "client-key"),
                dhcp=self._switch(table, "dhcp", default=False),
                lock_url=self._switch(table, "lock-url", default=False),
                timeout=self._seconds(table, "timeout", 30, LEAST_TIMEOUT),
                retry_limit=self._number(table, "retry-limit", 11, (0, MOST_RETRIES)),
                pipelining=self._switch(table, "pipelining", default=False),
                outstanding=self._number(table, "outstanding", 1, (1, 10)),
                change_interval=int(self._seconds(table, "change-interval", 60, 1)),
                before_boot_clock=self._word(table, "before-boot-clock", BeforeBootClock.REFUSE),
                unsafe_downgrade=self._switch(table, "unsafe-downgrade", default=False),
                proxy=self._text(table, "proxy"),
            ),
        )

    def inform(self, table: Table) -> InformSettings:
        moment: datetime | None = None
        with self.obstacles.collecting():
            value = table.any("time")
            if isinstance(value, str):
                try:
                    value = datetime.fromisoformat(value)
                except ValueError:
                    value = False
            if value is not None:
                if not isinstance(value, datetime):
                    raise table.error("time", "must be a time such as 2026-01-01T03:00:00Z")
                moment = value.replace(tzinfo=value.tzinfo or UTC).astimezone(UTC)
        return self._done(
            table,
            InformSettings(
                enable=self._switch(table, "enable", default=True),
                interval=int(self._seconds(table, "interval", 600, 1)),
                reference=moment,
            ),
        )

    def listener(self, table: Table) -> ListenerSettings:
        address, port = self._endpoint(table)
        sources: list[IPv4Network | IPv6Network] = []
        for text in self._texts(table, "from"):
            try:
                sources.append(ip_network(text))
            except ValueError as exc:
                self._wrong(table, "from", f"expected networks such as 192.0.2.0/24: {exc}")
        return self._done(
            table,
            ListenerSettings(
                address=address,
                port=port,
                host=self._text(table, "host", 256) or AUTO,
                username=self._text(table, "username", 256),
                password_file=self._path(table, "password-file"),
                per_minute=self._number(table, "per-minute", 10, (1, 6000)),
                sources=tuple(sources),
            ),
        )

    def device(self, table: Table) -> DeviceSettings:
        file = self._path(table, "file")
        if file is None:
            self._wrong(table, "file", 'missing; name the device file, such as file = "device.toml"')
        root = self._text(table, "root", 64) or "InternetGatewayDevice"
        if "." in root or not PARAMETER_PATH.fullmatch(root):
            self._wrong(table, "root", f"must be the name of an object without a dot, got {root[:80]!r}")
        wan: WanAddress | None = None
        if "wan" in table:
            with self.obstacles.collecting():
                inner = table.table("wan")
                wan = self._done(
                    inner,
                    WanAddress(
                        parameter=self._parameter(inner, "parameter", inner.text("parameter")),
                        address=inner.text("address") or AUTO,
                    ),
                )
        return self._done(
            table,
            DeviceSettings(
                file=file or self._directory,
                model_name=self._text(table, "model-name", 64) or "",
                hardware_version=self._text(table, "hardware-version", 64) or "",
                description=self._text(table, "description", 256) or "",
                version_file=self._path(table, "version-file"),
                root=root,
                wan=wan,
                kick_url=self._text(table, "kick-url"),
                download_progress_url=self._text(table, "download-progress-url"),
            ),
            "wan",
        )

    def install(self, table: Table) -> InstallSettings:
        trust = self._paths(table, "trust")
        roles = self._text(table, "roles")
        if roles not in {None, "any", "match"}:
            self._wrong(table, "roles", f'must be "any" or "match", got {roles!r:.40}')
        return self._done(
            table,
            InstallSettings(
                root=self._path(table, "root") or Path("/"),
                trust=trust,
                options=self._options(table),
                back_up=self._seconds(table, "back-up", 0, 0),
                back_up_boots=self._number(table, "back-up-boots", 0, (0, 1000))
                if "back-up-boots" in table
                else None,
                match_roles=roles == "match",
                web_content=self._other_root(table, "web-content"),
                vendor_configuration=self._other_root(table, "vendor-configuration"),
            ),
            "back-up-boots",
        )

    def _options(self, table: Table) -> tuple[str, ...]:
        words = self._words(table, "options")
        for word in words:
            if (name := word.partition("=")[0]) in OWN_OPTIONS:
                self._wrong(table, "options", f"must be without {name}, which is up to the agent")
        return words

    def transfers(self, table: Table, uploads: list[Table]) -> TransferSettings:
        schemes = self._texts(table, "schemes") or SCHEMES
        for scheme in schemes:
            if scheme not in SCHEMES:
                self._wrong(table, "schemes", f"expected {', '.join(SCHEMES)}, got {scheme[:40]!r}")
        return self._done(
            table,
            TransferSettings(
                download=self._switch(table, "download", default=True),
                upload=self._switch(table, "upload", default=True),
                schemes=schemes,
                max_waiting=self._number(table, "max-waiting", 16, (1, 16)),
                uploads=tuple(self._upload(one) for one in uploads),
            ),
        )

    def vouchers(self, table: Table) -> VoucherSettings:
        store = self._path(table, "store")
        if store is None:
            self._wrong(table, "store", 'missing; such as store = "/var/lib/spkg/options.db"')
        return self._done(
            table,
            VoucherSettings(
                store=store or self._directory,
                trust=self._paths(table, "trust"),
                clock=self._word(table, "clock", VoucherClock.BUILD_DATE),
            ),
        )

    def commands(self, table: Table) -> dict[str, tuple[str, ...]]:
        found = {"reboot": self._words(table, "reboot"), "factory_reset": self._words(table, "factory-reset")}
        return self._done(table, found)

    def back_up(self, table: Table) -> tuple[str, ...]:
        names = self._texts(table, "parameters")
        for name in names:
            if name not in OWN_SETTINGS:
                problem = f"must be parameters of the agent itself, such as {ACS_URL}, got {name!r:.80}"
                self._wrong(table, "parameters", problem)
        return self._done(table, names)

    def providers(self, tables: list[Table]) -> tuple[ProviderSettings, ...]:
        found = tuple(self._provider(table) for table in tables)
        owned: dict[str, str] = {}
        for table, provider in zip(tables, found, strict=True):
            for path in provider.paths:
                other = next((one for one in owned if one.startswith(path) or path.startswith(one)), None)
                if other is not None:
                    self._wrong(table, "paths", f"{path} is owned by {owned[other]!r} already")
                owned[path] = provider.name
        if len({one.name for one in found}) < len(found):
            self._wrong(tables[-1], "name", "must be the name of one provider alone")
        return found

    def state(self, table: Table) -> StateSettings:
        size: int | None = None
        with self.obstacles.collecting():
            size = table.size("log-size")
        return self._done(
            table,
            StateSettings(
                directory=self._path(table, "directory") or Path("/var/lib/spkg/agent"),
                log_size=max(256 << 10 if size is None else size, 4096),
                user=self._text(table, "user", 64),
            ),
        )

    def _endpoint(self, table: Table) -> tuple[str | None, int]:
        text = self._text(table, "listen")
        if text is None:
            return "0.0.0.0", 7547  # noqa: S104 - connection requests come from the network
        if not text:
            return None, 0
        host, colon, port = text.rpartition(":")
        if not colon or not port.isdigit() or not port.isascii() or not 0 <= int(port) <= 65535 or not host:
            self._wrong(table, "listen", f'must be an address and a port, or "", got {text[:80]!r}')
            return None, 0
        return host.removeprefix("[").removesuffix("]"), int(port)

    def _upload(self, table: Table) -> UploadSource:
        kind = self._text(table, "type") or ""
        if not UPLOAD_TYPE.fullmatch(kind):
            self._wrong(table, "type", f"must be a FileType of Upload, got {kind[:80]!r}")
        command, file = self._words(table, "command"), self._path(table, "file")
        if bool(command) == (file is not None):
            self._wrong(table, "command", "needs one of command and file")
        size: int | None = None
        with self.obstacles.collecting():
            size = table.size("max-size")
        return self._done(
            table,
            UploadSource(
                file_type=kind, command=command, file=file, max_size=1 << 20 if size is None else size
            ),
        )

    def _provider(self, table: Table) -> ProviderSettings:
        stated = [kind for kind in ProviderKind if kind.value in table]
        kind = stated[0] if stated else ProviderKind.SOCKET
        if len(stated) != 1:
            self._wrong(table, "socket", "needs one of socket, command, script and file")
        program = kind in {ProviderKind.COMMAND, ProviderKind.SCRIPT}
        command = self._words(table, kind.value) if program else ()
        path = None if program else self._path(table, kind.value)
        if program and not command:
            self._wrong(table, kind.value, "must be an array of a program and its arguments")
        paths = tuple(self._parameter(table, "paths", one) for one in self._texts(table, "paths"))
        if not paths:
            self._wrong(table, "paths", 'missing; name what it serves, such as paths = ["LANDevice."]')
        for one in paths:
            if not one.endswith("."):
                self._wrong(table, "paths", f"must be partial paths, which end in a dot, got {one!r}")
        name = self._text(table, "name", 64) or ""
        if not re.fullmatch(r"[\w-]{1,64}", name, re.ASCII):
            self._wrong(table, "name", "must be 1 to 64 letters, digits, hyphens or underscores")
        return self._done(
            table, ProviderSettings(name=name, kind=kind, command=command, path=path, paths=paths)
        )

    def _other_root(self, table: Table, key: str) -> OtherRoot | None:
        if key not in table:
            return None
        with self.obstacles.collecting():
            inner = table.table(key)
            root = self._path(inner, "root")
            if root is None:
                raise inner.error("root", "missing; name the directory")
            return self._done(inner, OtherRoot(root=root))
        return None
