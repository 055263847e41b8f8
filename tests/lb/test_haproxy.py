"""HAProxy's configuration as the model: what each part of it says, what is not understood, and hostile files."""

import contextlib
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wsprobe.inspection import Prediction
from wsprobe.lb import haproxy, recognised
from wsprobe.lb.model import Config, Edit, Gate
from wsprobe.lb.predict import predict
from wsprobe.lb.request import Request, upgrade
from wsprobe.lb.source import ReadError, from_text
from wsprobe.model import Header

BEARER: Header = ("Authorization", "Bearer x")

DEFAULTS = """\
defaults
  mode http
  timeout connect 3s
  timeout client 30s
  timeout server 40s
"""


def config(text: str, version: str | None = None) -> Config:
    return haproxy.read(from_text(text, "haproxy.cfg"), version)


def site(front: str = "", back: str = "", server: str = "", rest: str = "", defaults: str = DEFAULTS) -> str:
    """A frontend in lines 6 to 9 and more, and a backend behind it."""
    lines = [defaults, "frontend fe", " bind :80", *(f" {line}" for line in front.split("; ") if line)]
    lines += [" default_backend be", "backend be", *(f" {line}" for line in back.split("; ") if line)]
    return "\n".join([*lines, f" server s1 10.0.0.1:8080 {server}", rest]).replace("\n\nfrontend", "\nfrontend") + "\n"


def predicted(text: str, target: str = "/ws", headers: tuple[Header, ...] = (BEARER,)) -> Prediction:
    request = upgrade(target, headers=headers)
    known = Request(target=target, headers=request.headers, scheme="http", peer="192.0.2.1", peer_port=4, port=80)
    return predict(config(text), known)


def changes(prediction: Prediction) -> list[tuple[str, str, int | None]]:
    return [(str(edit.kind), edit.name, edit.place.line if edit.place else None) for edit in prediction.edits]


FIRST = 8  # the line of the first rule of a frontend
IN_BACKEND = 10


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (site("http-request del-header Authorization"), [("removed", "Authorization", FIRST)]),
        (site(back="http-request del-header authorization"), [("removed", "authorization", IN_BACKEND)]),
        (site("http-request del-header ^auth -m reg"), [("removed", "Authorization", FIRST)]),
        (site("http-request del-header ^Auth -m reg"), []),
        (site("http-request del-header Auth -m beg"), [("removed", "Authorization", FIRST)]),
        (site('http-request set-header Authorization "Basic x"'), [("changed", "Authorization", FIRST)]),
        (
            site(r"http-request replace-header Authorization ^Bearer\ (.*) Token\ \1"),
            [("changed", "Authorization", FIRST)],
        ),
        (
            site("acl ws hdr(Upgrade) -i websocket; http-request del-header Authorization if ws"),
            [("removed", "Authorization", 9)],
        ),
        (
            site("acl ws path /no; acl ws path /ws; http-request del-header Authorization if ws"),
            [("removed", "Authorization", 10)],
        ),
        (site("http-request del-header Authorization unless { path_beg /ws }"), []),
        (
            site("http-request del-header Authorization if { path /no } or { path /ws } METH_GET"),
            [("removed", "Authorization", FIRST)],
        ),
        (site("http-request del-header Authorization if !{ path /ws } || FALSE"), []),
        (site("http-request allow if { path /ws }; http-request del-header Authorization"), []),
        (site("option forwardfor"), [("added", "X-Forwarded-For", FIRST)]),
        (site("option forwardfor except 192.0.2.0/24"), []),
        (site("no option forwardfor"), []),
        (site("http-request set-header X-A %[req.hdr(authorization),field(2,' ')]"), [("added", "X-A", FIRST)]),
        (site(back="http-send-name-header X-Server"), [("added", "X-Server", IN_BACKEND)]),
        (
            site(
                "http-request set-var(txn.t) req.hdr(authorization); http-request del-header Authorization; http-request set-header X-T %[var(txn.t)]"
            ),
            [("removed", "Authorization", 9), ("added", "X-T", 10)],
        ),
    ],
    ids=str,
)
def test_an_edit_is_told_with_its_line(text: str, told: list[tuple[str, str, int | None]]) -> None:
    assert changes(predicted(text)) == told


@pytest.mark.parametrize(
    ("front", "route"),
    [
        ("use_backend be2 if { path_beg /ws }", "use_backend be2 if { path_beg /ws }"),
        ("use_backend be2 if { path_beg /no }", "default_backend be"),
        ("http-request set-path /new; use_backend be2 if { path /new }", "use_backend be2 if { path /new }"),
        ("use_backend be2 if { hdr(authorization) secret }", "default_backend be"),
        ("acl secret hdr(authorization) -m beg Bearer; use_backend be2 if secret", "use_backend be2 if secret"),
        ("use_backend %[str(be2)]", "use_backend %[str(be2)]: be2"),
    ],
)
def test_the_backend_is_chosen_after_the_rules(front: str, route: str) -> None:
    assert predicted(site(front, rest="backend be2\n server s 10.0.0.2:80")).route == route


@pytest.mark.parametrize(
    ("match", "target", "host"),
    [
        ("path_beg /ws/", "/ws/x", None),
        ("path /chat", "/chat", None),
        ("path_end .ws", "/.ws", None),
        ("path_reg ^/socket", "/socket", None),
        ("path_reg ^/(ws|socket)(/.*)?$", "/ws", None),
        (r"path_reg -i ^/v[0-9]+/\\w+\\.ws$", "/v0/x.ws", None),
        ("path_dir ws", "/ws/", None),
        (r"hdr(host) -m reg -i ^(?i)(admin|deny)\\.example\\.com", "/", "admin.example.com"),
        ("hdr(host) -i ws.example.com", "/", "ws.example.com"),
        ("hdr_beg(host) ws.", "/", "ws.x"),
        ("hdr(upgrade) -i websocket", "/", None),
    ],
)
def test_a_route_has_a_request_that_should_match(match: str, target: str, host: str | None) -> None:
    read = config(site(f"use_backend be if {{ {match} }}"))
    route = read.listeners[0].routes[0]
    assert (route.sample, route.sample_host) == (target, host)
    assert predict(read, upgrade(target, host or "app.example.com")).route == route.label


TIMERS = "defaults\n mode http\n {}\nfrontend fe\n bind :80\n {}\n default_backend be\nbackend be\n {}\n server s 10.0.0.1:80\n"


@pytest.mark.parametrize(
    ("defaults", "front", "back", "timers"),
    [
        ("timeout client 30s", "", "timeout server 40s", [("client", 30, True), ("server", 40, False)]),
        ("timeout client 5000", "", "timeout server 1m", [("client", 5, True), ("server", 60, False)]),
        (
            "timeout tunnel 1h",
            "timeout client 30s",
            "timeout server 30s",
            [("tunnel", 3600, True), ("client", 30, False), ("server", 30, False)],
        ),
        ("timeout client 30s", "timeout tunnel 1h", "", [("client", 30, True), ("tunnel", 3600, False)]),
        ("timeout server 30s", "", "timeout client 1h", [("server", 30, True), ("client", 3600, False)]),
        ("timeout client 15min", "", "", [("client", 900, True)]),
        ("maxconn 5", "", "", [("client", None, True)]),
        ("timeout client 9s\n timeout client-fin 1s", "", "", [("client", 9, True), ("client-fin", 1, False)]),
        (
            "timeout tunnel 9s",
            "",
            "http-request set-timeout tunnel 1h if { hdr(upgrade) -i websocket }",
            [("tunnel", 3600, True)],
        ),
        ("timeout tunnel 9s", "", "http-request set-timeout tunnel 1h if { path /no }", []),
    ],
)
def test_which_timer_ends_an_idle_connection(
    defaults: str, front: str, back: str, timers: list[tuple[str, float | None, bool]]
) -> None:
    found = config(TIMERS.format(defaults, front, back)).listeners[0].routes[0].timeouts
    idle = [timeout for timeout in found if timeout.kind == "idle"]
    assert [(each.name.removeprefix("timeout "), each.seconds, each.applies) for each in idle] == timers
    assert all(each.why for each in idle if not each.applies)


@pytest.mark.parametrize(
    ("server", "protocol", "tls"),
    [
        ("", "client", False),
        ("ssl verify none", "client", True),
        ("ssl alpn h2,http/1.1", "client", True),
        ("ssl alpn h2,http/1.1 ws h1", "client", True),
        ("ssl alpn h2,http/1.1 ws h2", "h2", True),
        ("ssl alpn h2", "h2", True),
        ("proto h2", "h2c", False),
        ("proto h2 ws h1", "client", False),
        ("check send-proxy", "client", False),
        ("ssl no-ssl", "client", False),
    ],
)
def test_what_an_upgrade_is_spoken_in(server: str, protocol: str, tls: bool) -> None:  # noqa: FBT001  what is expected
    upstream = config(site(server=server)).listeners[0].routes[0].upstream
    assert upstream
    assert (upstream.protocol, upstream.tls, upstream.addresses) == (protocol, tls, ("10.0.0.1:8080",))
    assert (upstream.protocol_place is not None) == (protocol in {"h2", "h2c"})


USERS = "userlist u\n user ada insecure-password hunter2\n user bob password $5$salt$hash\n"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ((), 401),
        ((BEARER,), 401),
        ((("Authorization", "Basic YWRhOmh1bnRlcjI="),), None),
    ],
    ids=str,
)
def test_basic_authentication_refuses_a_bearer_token(headers: tuple[Header, ...], status: int | None) -> None:
    text = site(
        "http-request auth realm x unless { http_auth(u) }", rest=USERS.replace(" user bob password $5$salt$hash\n", "")
    )
    prediction = predicted(text, headers=headers)
    assert (prediction.reached, prediction.status) == (status is None, status)
    gates = [step for step in config(text).listeners[0].steps if isinstance(step, Gate)]
    assert [(gate.kind, gate.header, str(gate.effect)) for gate in gates] == [
        ("http-request auth", "Authorization", "reads")
    ]


def test_a_password_that_is_hashed_leaves_it_open() -> None:
    text = site("http-request auth unless { http_auth(u) }", rest=USERS)
    assert predicted(text, headers=(("Authorization", "Basic Ym9iOng="),)).reached is None


def test_no_secret_stands_in_what_is_said() -> None:
    secret = "s3cr3t-value"
    text = site(
        f"acl token hdr(authorization) {secret}; use_backend be2 if {{ hdr(x-key) {secret} }}; "
        f"http-request deny if {{ req.hdr(x-key),map(/{secret}) {secret} }}",
        rest=f"backend be2\n server s 10.0.0.2:80\nuserlist u\n user ada insecure-password {secret}\n",
    )
    read = config(text)
    said = [route.label for route in read.listeners[0].routes] + [each.why + each.what for each in read.unread]
    said += [why for each in predicted(text).unknown for why in (each.what, each.why)]
    assert secret not in "\n".join(said)


def test_edits_of_the_answer_work_on_a_101() -> None:
    text = site("http-response del-header Sec-WebSocket-Protocol", "http-response set-header X-Edge 1")
    edits = config(text).listeners[0].routes[0].response
    assert [
        (edit.which, edit.effective, edit.place and edit.place.line) for edit in edits if isinstance(edit, Edit)
    ] == [
        (edits[0].which, True, 11),
        (edits[1].which, True, FIRST),
    ]


@pytest.mark.parametrize(
    ("text", "line", "column", "said"),
    [
        ("global\n daemon", 2, 1, "line feed"),
        (site('http-request set-header X-A "open'), 8, 30, "quote"),
        (site("http-request del-header A if nobody"), 8, 31, "no acl of the name nobody"),
        (site("http-request del-header A if { path /"), 8, 31, "brace"),
        (site("http-request del-header A if"), 8, 28, "without a condition"),
        (site("reqidel ^Authorization"), 8, 2, "removed in HAProxy 2.1"),
        (site(rest="global\n nbproc 2"), 12, 2, "removed in HAProxy 2.5"),
        ("bind :80\n" + site(), 1, 1, "before the first section"),
        (site(rest=".if 1"), 11, 1, ".if without .endif"),
        (site(rest=".endif"), 11, 1, ".endif without .if"),
        (site().replace("frontend fe", "frontend fe from nowhere"), 6, 1, "no defaults section"),
    ],
)
def test_what_haproxy_refuses_is_a_problem_and_the_rest_is_read(text: str, line: int, column: int, said: str) -> None:
    read = config(text)
    [problem] = read.problems
    assert (problem.line, problem.column) == (line, column)
    assert said in problem.message
    assert read.listeners or "frontend" not in text


def test_a_backend_of_another_file_leaves_it_open() -> None:
    text = site("use_backend other if { path /ws }")
    assert [each.what for each in config(text).unread] == ["use_backend other if { path /ws }"]
    assert predicted(text).reached is None
    assert predicted(text, "/x").route == "default_backend be"


def test_a_section_that_is_switched_off_takes_nothing() -> None:
    assert config(site("disabled")).listeners == ()
    assert len(config(site("disabled; enabled")).listeners) == 1


def test_without_defaults_the_mode_is_tcp_and_that_is_told() -> None:
    read = config("frontend fe\n bind :80\n default_backend be\nbackend be\n server s 10.0.0.1:80\n")
    assert [each.what for each in read.unread] == ["mode of fe", "mode of be"]
    assert predict(read, Request(target="/ws")).reached is True


@pytest.mark.parametrize(
    ("text", "version", "problems"),
    [
        ("global\n nbproc 2\n", "2.4", 0),
        ("global\n nbproc 2\n", None, 1),
        ("global\n daemon", "2.2", 0),
        (site("reqidel ^Authorization"), "2.0.5", 0),
    ],
)
def test_the_version_decides_what_is_refused(text: str, version: str | None, problems: int) -> None:
    read = config(text, version)
    assert len(read.problems) == problems
    assert (read.version, read.assumed) == (version or haproxy.VERSION, version is None)


def test_a_rule_of_old_may_change_any_header() -> None:
    unknown = predict(config(site("reqidel ^Auth"), "1.8"), upgrade("/ws")).unknown
    assert "any header" in [each.what for each in unknown]


@pytest.mark.parametrize(
    ("front", "what"),
    [
        ("frobnicate 5", "frobnicate"),
        ("http-request frobnicate", "frobnicate"),
        ("timeout client soon", "timeout client"),
        ("timeout client 15min", "timeout client"),
        ('bind "${ADDRESS}"', "bind"),
        (".if defined(X); http-request del-header A; .endif", ".if"),
    ],
)
def test_what_is_not_understood_is_unread_with_its_line(front: str, what: str) -> None:
    found = [(each.what, each.place and each.place.line) for each in config(site(front)).unread]
    assert (what, FIRST) in found


@pytest.mark.parametrize(
    ("front", "unknown"),
    [
        ("http-request set-header X-A %[uuid]", "X-A"),
        ("http-request set-header X-A %[req.hdr(x),map(/m)]", "X-A"),
        ("http-request set-header X-A %[req.hdr(x),word(1,)]", "X-A"),
        ('http-request set-header X-A "$SOMEWHERE"', "X-A"),
        ("http-request lua.change", "any header"),
        ("filter lua.change", "any header"),
        ("http-request normalize-uri path-merge-slashes", "the request target"),
        (
            "http-request del-header X-B if { src -f list }; http-request set-header Authorization x if { nbsrv(be) gt 0 }",
            "Authorization",
        ),
        (".if defined(X); http-request del-header Authorization; .endif", "Authorization"),
        ("http-request del-header Authorization if { src -f /list }", "Authorization"),
        ("http-request frobnicate", "any header"),
    ],
)
def test_what_only_the_running_proxy_knows_is_unknown(front: str, unknown: str) -> None:
    assert unknown in [each.what for each in predicted(site(front)).unknown]


@pytest.mark.parametrize(
    "text",
    [
        "frontend fe\n bind :80\n{{ range .Backends }}\n",
        "backend be\n server s {{ ip }}:80\n",
        "{% for x in y %}\nbackend be\n",
        "backend be\n server s <address>:80\n",
        "backend be\n server s %ADDRESS%\n",
        'backend be\n server s "{{ ip }}:80"\n',
        "backend be\n server s <%= ip %>:80\n",
    ],
)
def test_a_template_is_named_and_not_read(text: str) -> None:
    with pytest.raises(ReadError, match="a template") as caught:
        config(text)
    assert caught.value.problem.line > 0


def test_json_in_an_answer_is_no_template() -> None:
    text = site(
        """http-request return status 200 content-type application/json lf-string '{"a":{"ip":"%ci"}}' if { path /x }"""
    )
    assert config(text).problems == ()
    assert config(site('http-request set-header X-Client "<%[src]>"')).problems == ()


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (site(), "haproxy"),
        ("# a comment\nglobal\n    daemon\n", "haproxy"),
        ("global\nmaxconn 5\ndefaults\nmode http\n", "haproxy"),
        ("listen web *:80\nserver a 10.0.0.1:80\n", "haproxy"),
        ("acl all src all\ncache deny all\nhttp_access allow all\n", None),
        ("http {\n server {\n  listen 80;\n }\n}\n", "nginx"),
        ("global\n\nThe global section of this text is empty, and\n bind is a verb.\n", None),
        ("defaults:\n  mode: http\n", None),
        ("", None),
    ],
)
def test_a_file_is_recognised_by_its_content(text: str, kind: str | None) -> None:
    assert (recognised(from_text(text)) == "haproxy") is (kind == "haproxy")


def test_nothing_of_a_file_is_opened(tmp_path: Path) -> None:
    (tmp_path / "list").write_text("x\n")
    source = from_text(
        site(f"http-request deny if {{ path -f {tmp_path}/list }}; errorfile 503 {tmp_path}/list"), root=tmp_path
    )
    haproxy.read(source)
    assert not source.files.opened


@pytest.mark.parametrize(
    "text",
    [
        ".if 1\n" * 5000,
        "frontend fe\n" + " acl a path /x\n" * 20_000,
        "frontend fe\n http-request deny if " + "!" * 100_000 + "TRUE\n",
        "frontend fe\n http-request deny if " + "{ path /x } or " * 20_000 + "TRUE\n",
        "frontend fe\n acl a " + "x" * 1_000_000 + "\n",
        "frontend fe\n http-request set-header A " + "%[path]" * 20_000 + "\n",
        "frontend fe\n http-request set-header A %[path" + ",lower" * 20_000 + "]\n",
        "frontend fe\n http-request set-header A %[str(" + "(" * 100_000 + ")]\n",
        ".if " + "!" * 5000 + "1\n.endif\nglobal\n",
        ".if " + "1 && " * 20_000 + "1\n.endif\nglobal\n",
        "frontend fe\n bind :1-65535\n default_backend b\n",
        "frontend fe\n mode http\n"
        + "".join(f" use_backend b{n} if {{ path /{n} }}\n" for n in range(300))
        + "".join(f"backend b{n}\n server s 1.2.3.4:5\n" for n in range(300)),
        "frontend fe\n mode http\n use_backend %[path]\n"
        + "".join(f"backend b{n}\n server s 1.2.3.4:5\n" for n in range(3000)),
    ],
    ids=lambda text: text[:60],
)
def test_a_hostile_file_is_read_in_bounded_time(text: str) -> None:
    start = time.process_time()
    with contextlib.suppress(ReadError):
        predict(config(text), upgrade("/ws", headers=(BEARER,)))
    assert time.process_time() - start < 5


def test_a_config_of_nine_thousand_lines_is_read_in_a_second_or_two() -> None:
    many = range(1500)
    lines = ["frontend fe", " mode http", *(f" acl a{n} path_beg /p{n}/" for n in many)]
    lines += [f" http-request set-header X-{n} v if a{n}" for n in many]
    lines += [f" use_backend b{n} if a{n}" for n in many]
    lines += [line for n in many for line in (f"backend b{n}", " mode http", " server s 10.0.0.1:80")]
    start = time.process_time()
    read = config("\n".join([*lines, ""]))
    assert time.process_time() - start < 5
    assert predict(read, upgrade("/p1400/")).route == "use_backend b1400 if a1400"


REAL = site(
    "acl ws hdr(Upgrade) -i websocket; acl ws path_beg /ws /socket; http-request set-header X-Forwarded-Proto https if { ssl_fc }; "
    'http-request set-var(txn.a) req.hdr(host),lower,field(1,:); http-request replace-path /(.*) "/x/\\1" unless ws; '
    "http-request return status 200 content-type text/plain string 'a b' if { path -i -m end /health }; "
    "option forwardfor except 127.0.0.0/8 header X-Real; use_backend be if ws or { src 10.0.0.0/8 }",
    "http-request del-header ^x- -m reg; cookie S insert indirect; timeout tunnel 1h; stats uri /stats",
    rest=".if version_atleast(2.4)\nlisten l\n bind :81 ssl crt x\n.endif\n" + USERS,
)
PIECES = [
    "\n",
    " ",
    '"',
    "'",
    "\\",
    "$",
    "%[",
    "]",
    "(",
    ")",
    "{",
    "}",
    "!",
    "or",
    ",",
    "-m",
    "if",
    "#",
    "\t",
    "é",
    ".if ",
    "${X}",
    "-f",
    "\0",
    "from",
]


@given(st.lists(st.tuples(st.integers(0, len(REAL)), st.integers(0, 12), st.sampled_from(PIECES)), max_size=12))
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_mutated_file_is_read_or_refused(mutations: list[tuple[int, int, str]]) -> None:
    text = REAL
    for at, gone, piece in mutations:
        text = text[:at] + piece + text[at + gone :]
    try:
        read = config(text)
    except ReadError:
        return
    for target in ("/ws", "/stats"):
        predict(read, upgrade(target, headers=(BEARER,)))
