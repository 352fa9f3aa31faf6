"""ACSs that others made: PHP's SOAP behind its own server, and Apache with digest before it."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.support.real_servers import HOST, answers_at, free_port, running

__all__ = ["PhpAcs", "apache_digest", "php_acs"]

PHP: Final = Path(__file__).parents[1] / "judges" / "php" / "acs.php"
USERNAME: Final = "00D09E-0123456789"
PASSWORD: Final = "open sesame"
NONCE_LIFE: Final = 2
"""After how many seconds Apache calls a nonce stale."""
APACHE: Final = """
ServerRoot "{modules}"
ServerName localhost
Listen {host}:{port}
PidFile "{work}/pid"
DefaultRuntimeDir "{work}"
ErrorLog "{work}/errors"
LogFormat "%>s %k %{{WWW-Authenticate}}o | %{{Authorization}}i" logins
CustomLog "{work}/access" logins
LoadModule mpm_event_module modules/mod_mpm_event.so
LoadModule authn_core_module modules/mod_authn_core.so
LoadModule authn_file_module modules/mod_authn_file.so
LoadModule authz_core_module modules/mod_authz_core.so
LoadModule authz_user_module modules/mod_authz_user.so
LoadModule auth_digest_module modules/mod_auth_digest.so
LoadModule proxy_module modules/mod_proxy.so
LoadModule proxy_http_module modules/mod_proxy_http.so
StartServers 1
User {user}
KeepAlive On
KeepAliveTimeout 30
<Location />
  AuthType Digest
  AuthName acs
  AuthDigestNonceLifetime {life}
  AuthDigestQop auth
  AuthUserFile "{work}/passwords"
  Require valid-user
</Location>
ProxyPass / "http://{host}:{behind}/" disablereuse=on
"""


@dataclass(frozen=True, kw_only=True)
class PhpAcs:
    """An ACS in PHP."""

    port: int
    desk: Path

    @property
    def url(self) -> str:
        """Its URL."""
        return f"http://{HOST}:{self.port}/cwmp"

    def plan(self, *requests: tuple[str, Sequence[tuple[str, Any]]]) -> None:
        """Set what each session is asked."""
        (self.desk / "plan.json").write_text(json.dumps(requests))

    @property
    def said(self) -> list[tuple[str, Any]]:
        """What devices have said, as PHP reads it."""
        file = self.desk / "said.jsonl"
        lines = file.read_text().splitlines() if file.exists() else []
        return [tuple(json.loads(line)) for line in lines]


@contextmanager
def php_acs(desk: Path) -> Iterator[PhpAcs]:
    """Run the ACS in PHP.

    Args:
        desk: An empty directory.
    """
    with free_port() as port:
        acs = PhpAcs(port=port, desk=desk)
        acs.plan()
        command = ("env", f"DESK={desk}", "php", "-d", f"session.save_path={desk}", "-S", f"{HOST}:{port}")
        with running(*command, PHP, directory=desk, ready=lambda: answers_at(HOST, port)):
            yield acs


@dataclass(frozen=True, kw_only=True)
class Apache:
    """A server that lets nobody through to the ACS without a digest."""

    url: str
    log: Path

    @property
    def logins(self) -> list[tuple[int, int, str, str]]:
        """Of each answer: its status, which of its connection it is, its challenge, and what it answers."""
        lines = (line.partition(" | ") for line in self.log.read_text().splitlines())
        found = []
        for before, _, login in lines:
            status, number, challenge = before.split(" ", 2)
            found.append((int(status), int(number), challenge, login))
        return found


@contextmanager
def apache_digest(work: Path, behind: int) -> Iterator[Apache]:
    """Run Apache with mod_auth_digest before a server.

    Args:
        work: An empty directory.
        behind: The port of the server.
    """
    secret = hashlib.md5(f"{USERNAME}:acs:{PASSWORD}".encode()).hexdigest()
    (work / "passwords").write_text(f"{USERNAME}:acs:{secret}\n")
    (work / "passwords").chmod(0o644)
    work.chmod(0o755)
    with ExitStack() as stack:
        port = stack.enter_context(free_port())
        text = APACHE.format(
            modules="/usr/lib/apache2",
            host=HOST,
            port=port,
            behind=behind,
            work=work,
            life=NONCE_LIFE,
            user="nobody",
        )
        (work / "apache.conf").write_text(text)
        command = ("apache2", "-f", work / "apache.conf", "-D", "FOREGROUND")
        stack.enter_context(running(*command, directory=work, ready=lambda: answers_at(HOST, port)))
        yield Apache(url=f"http://{HOST}:{port}/cwmp", log=work / "access")
