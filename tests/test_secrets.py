"""A different secret in every place where one can stand, and none of them in anything that any command leaves."""

import base64
import contextlib
import html
import json
import os
import re
import secrets
import signal
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import pytest

from tests import backend, wire
from tests.backend import Backend, Exchange
from tests.standin import SECRET, forged, token
from tests.tracing import SECONDS, Ran, command, run
from tests.tracker import TOKEN, GitLabTracker
from wsprobe.reports import formats
from wsprobe.reports.comparison import formats as comparisons

FORMATS = tuple(formats())
EVERY_FORMAT = tuple(formats())
HEADERS = (
    *("Proxy-Authorization", "X-Auth-Token", "X-Api-Key", "X-Client-Secret", "X-Session-Id", "X-Amzn-Oidc-Data"),
    *("X-Goog-IAP-JWT-Assertion", "Cf-Access-Jwt-Assertion", "X-MS-Token-AAD-Access-Token", "X-Forwarded-Access-Token"),
    *(
        "X-MS-CLIENT-PRINCIPAL",
        "X-Goog-Authenticated-User-Email",
        "X-Forwarded-User",
        "X-Client-Cert",
        "Idempotency-Key",
    ),
)
_PIECE = 20
QUERY = ("token", "access_token", "api_key", "session", "code", "X-Amz-Signature", "ticket", "password")


def opaque() -> str:
    """A secret that looks different when it is encoded."""
    return base64.b64encode(secrets.token_bytes(21)).decode()[:-1] + "+/="


@dataclass
class Vault:
    """Every secret by the place where it was planted."""

    planted: dict[str, str] = field(default_factory=dict)

    def new(self, place: str) -> str:
        """A secret for a place."""
        return self.planted.setdefault(place, opaque())

    def jwt(self, place: str, *, short: bool = False) -> str:
        """A token for a place; what its first part says may be told."""
        jti = secrets.token_hex(8)
        made = forged({"alg": "HS256"}, {"jti": jti}, b"key") if short else token(jti=jti)
        _, self.planted[f"{place}, claims"], self.planted[f"{place}, signature"] = made.split(".")
        return made

    def leaks(self, text: str) -> list[str]:
        """The places whose secret stands in a text, in any form."""
        return [place for place, secret in self.planted.items() if any(form in text for form in forms(secret))]


def forms(secret: str) -> set[str]:
    """A secret as it is and in pieces, percent-encoded, in base64 at each alignment, escaped for JSON, HTML, Python."""
    found = {secret, quote(secret, safe=""), quote(secret), quote(secret, safe="").lower(), html.escape(secret)}
    found |= {quote(form, safe="") for form in tuple(found)}
    found |= {secret[at : at + _PIECE] for at in range(0, len(secret) - _PIECE, _PIECE // 2)}
    found |= {json.dumps(secret)[1:-1], repr(secret)[1:-1], secret.replace("/", "\\/"), secret.rstrip("=")}
    for octets in (secret.encode(), base64.b64encode(secret.encode())):
        for pad in range(3):
            coded = base64.b64encode(b"\0" * pad + octets).decode()[-(-pad * 4 // 3) + (pad > 0) :].rstrip("=")[:-1]
            found |= {coded, coded.replace("+", "-").replace("/", "_")}
    return found


def test_the_search_finds_every_form() -> None:
    vault = Vault({"here": "abc+/=%&<defghijkl"})
    secret = vault.planted["here"]
    encoded = [base64.b64encode(f"{before}{secret}after".encode()).decode() for before in ("", "u", "us", "user:")]
    for text in (secret, quote(secret, safe=""), json.dumps(secret), html.escape(secret), *encoded):
        assert vault.leaks(f"before {text} after") == ["here"], text
    assert vault.leaks("nothing") == []


# The servers: each puts secrets of its own into its answer, and says back what it got.


def echoed(exchange: Exchange) -> str:
    request = exchange.request
    return request.get("authorization") or request.get("x-api-key") or "nothing"


def upgraded(vault: Vault) -> backend.Answer:
    cookie, reason = vault.new("Set-Cookie"), vault.jwt("a close reason", short=True)

    def answer(exchange: Exchange) -> None:
        extra = f"Set-Cookie: sid={cookie}; Path=/; HttpOnly\r\nX-Echo: {echoed(exchange)}\r\n\r\n"
        exchange.send(backend.switching(exchange.request)[:-2] + extra.encode() + wire.close(1011, f"bad {reason}"))
        list(exchange.frames())

    return answer


def refusing(vault: Vault) -> backend.Answer:
    parts = {
        "jwt": vault.jwt("an error body"),
        "password": vault.new("a password in an error body"),
        "api_key": vault.new("a key in an error body"),
    }

    def answer(exchange: Exchange) -> None:
        text = json.dumps({"error": "no", "got": echoed(exchange), "line": exchange.request.start_line, **parts})
        exchange.send(backend.plain("401 Unauthorized", f"{text}\n<!-- {dict(exchange.request.headers)} -->"))

    return answer


def redirecting(vault: Vault) -> backend.Answer:
    user, value = (quote(vault.new(f"{place} of Location"), safe="") for place in ("userinfo", "the query"))
    location = f"http://user:{user}@127.0.0.1:1/{vault.jwt('the path of Location')}?token={value}"
    return lambda exchange: exchange.send(
        f"HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()
    )


# Everything that is run.


@dataclass
class Left:
    """What commands left, by where it was found."""

    texts: dict[str, str] = field(default_factory=dict)

    def ran(self, label: str, ran: Ran, *, status: int | None = None) -> Ran:
        """Keeps what a command printed."""
        assert status is None or ran.status == status, (label, ran)
        self.texts[f"{label}: stdout"], self.texts[f"{label}: stderr"] = ran.out, ran.err
        return ran

    def files(self, folder: Path) -> None:
        """Keeps every file below a folder."""
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                self.texts[f"file {file.relative_to(folder)}"] = file.read_text("utf-8", "surrogateescape")


@contextlib.contextmanager
def process(left: Left, label: str, *words: str, env: dict[str, str] | None = None) -> Iterator[int]:
    """A command that listens, its port, and at its end what it told."""
    told: list[str] = []
    with subprocess.Popen(
        command(*words), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ, **(env or {})}
    ) as running:
        assert running.stdout
        for line in running.stdout:
            told.append(line)
            if port := re.search(r'"at": ?"127\.0\.0\.1:(\d+)"', line):
                break
        else:
            raise AssertionError(f"{label} did not listen: {told}")
        reader = threading.Thread(target=told.extend, args=(running.stdout,))
        reader.start()
        try:
            yield int(port[1])
        finally:
            running.send_signal(signal.SIGTERM)
            running.wait(SECONDS)
            reader.join(SECONDS)
    left.texts[f"{label}: log"] = "".join(told)


def asked(vault: Vault, name: str) -> tuple[list[str], str, dict[str, str]]:
    """The options, the query and the environment of one request with a secret in every place."""
    words = ["--bearer-env", "PROBE_TOKEN"]
    for header in HEADERS:
        words += ["-H", f"{header}: {vault.new(f'{name}: {header}')}"]
    words += [
        "-H",
        f"Cookie: theme=dark; sid={vault.new(f'{name}: Cookie')}; jwt={vault.jwt(f'{name}: a JWT in a cookie')}",
    ]
    words += ["-H", f"X-Plain: see {vault.jwt(f'{name}: a JWT in a header of no note')}"]
    words += ["-H", f"Sec-WebSocket-Protocol: chat, {vault.jwt(f'{name}: a subprotocol')}"]
    words += ["-H", f"Referer: https://user:{quote(vault.new(f'{name}: Referer'), safe='')}@example.test/"]
    pairs = [f"{key}={quote(vault.new(f'{name}: query {key}'), safe='')}" for key in QUERY]
    inner = quote(f"https://example.test/?token={quote(vault.new(f'{name}: a URL in the query'), safe='')}", safe="")
    query = "&".join(["x=1", *pairs, f"plain={vault.jwt(f'{name}: a JWT in the query')}", f"next={inner}"])
    return words, query, {"PROBE_TOKEN": vault.jwt(f"{name}: Authorization")}


def traced(left: Left, vault: Vault, name: str, port: int, folder: Path) -> None:
    """The command in each format and with files, and what reads its files afterwards."""
    words, query, env = asked(vault, name)
    saved = folder / f"{name}-saved"
    for format_ in FORMATS:
        url = f"ws://127.0.0.1:{port}/ws?{query}"
        joined = ["--records", str(folder), "--hold", "1", "--format", format_, "-o", str(saved)]
        left.ran(f"{name}: trace as {format_}", run("trace", url, *words, *joined, env=env), status=1)
    user = quote(vault.new(f"{name}: the URL's password"), safe="")
    url = f"ws://somebody:{user}@127.0.0.1:{port}/ws?{query}"
    left.ran(f"{name}: trace with userinfo", run("trace", url, "--location", "--hold", "1"), status=1)
    left.ran(f"{name}: plan", run("trace", url, "--plan", *words[2:]), status=0)
    for file in ("trace.json", "report.json"):
        for format_ in EVERY_FORMAT:
            left.ran(f"{name}: report of {file} as {format_}", run("report", str(saved / file), "--format", format_))
    for format_ in comparisons():
        sides = str(saved / "report.json"), str(saved / "trace.json")
        left.ran(f"{name}: diff as {format_}", run("diff", *sides, "--format", format_), status=1)


def diagnosed(left: Left, folder: Path) -> None:
    for format_ in EVERY_FORMAT:
        out = str(folder / f"diagnosed{format_}")
        left.ran(f"diagnose as {format_}", run("diagnose", str(folder), "--format", format_, "-o", out), status=1)


def attached(left: Left, vault: Vault, *files: Path) -> None:
    """Reports posted to an issue, updated there, and as a new issue: what was printed, and the body of every request."""
    vault.planted["the tracker's token"] = TOKEN
    env = {"ISSUE_TOKEN": TOKEN}
    with GitLabTracker() as tracker:
        project = f"{tracker.url}/{tracker.project}/-/issues"
        ways = {
            "printed": (f"{project}/5",),
            "posted": (f"{project}/5", "--post", "--token-env", "ISSUE_TOKEN"),
            "opened": (project, "--new", "--title", "1011", "--post", "--token-env", "ISSUE_TOKEN"),
        }
        for file in (*files, files[0]):
            for label, words in ways.items():
                left.ran(f"attach {file}: {label}", run("attach", str(file), *words, env=env), status=0)
        refused = run("attach", str(files[0]), f"{project}/5", "--post", "--token-cmd", f"echo {TOKEN}x")
        left.ran("attach: refused", refused, status=1)
        bodies = [f"{asked.path} {asked.query} {asked.body.decode()}" for asked in tracker.asked]
    assert len(tracker.comments) == len(tracker.opened) == len(files)
    left.texts["attach: requests"] = "\n".join(bodies)


@pytest.mark.parametrize("engine", ["relay", "mitmproxy"])
@pytest.mark.parametrize("server", [upgraded, refusing, redirecting], ids=lambda server: server.__name__)
def test_no_secret_leaves_a_recorder_a_trace_or_a_diagnosis(server: object, engine: str, tmp_path: Path) -> None:
    if engine == "mitmproxy":
        pytest.importorskip("mitmproxy")
    vault, left = Vault(), Left()
    answer: backend.Answer = server(vault)  # type: ignore[operator]  # one of the three above
    records = str(tmp_path / "tap.jsonl")
    with Backend(answer) as app:
        listen = ("--listen", "127.0.0.1:0", "--to", f"http://127.0.0.1:{app.port}", "-o", records)
        with process(left, engine, "record", "tap", *listen, "--engine", engine) as port:
            traced(left, vault, "request", port, tmp_path)
            diagnosed(left, tmp_path)
    attached(left, vault, tmp_path / "request-saved" / "report.json", tmp_path / "diagnosedjson" / "report.json")
    left.files(tmp_path)
    received = "\n".join(f"{request.start_line} {request.headers}" for request in app.requests)
    sent = [place for place in vault.planted if place.startswith("request: ")]
    assert set(vault.leaks(received)) >= set(sent), "all of them were really sent"
    assert "withheld" in left.texts[f"file {Path(records).name}"]
    assert {where: places for where, text in left.texts.items() if (places := vault.leaks(text))} == {}


CARRIERS = (("header", 1011), ("cookie:sid", 1011), ("query:token", 1011), ("subprotocol", 401))


def test_no_secret_leaves_the_stand_in_origin(tmp_path: Path) -> None:
    vault, left = Vault({"the key of the origin": SECRET}), Left()
    with contextlib.ExitStack() as stack:
        places = [word for carrier, _ in CARRIERS for word in ("--token-from", carrier)]
        for status in ("1011", "401"):
            words = (
                "origin",
                "--listen",
                "127.0.0.1:0",
                "-o",
                str(tmp_path / f"{status}.jsonl"),
                "--jwt-key-env",
                "KEY",
            )
            origin = process(left, status, *words, *places, "--on-missing-auth", status, env={"KEY": SECRET})
            port = stack.enter_context(origin)
            options, query, env = asked(vault, status)
            url = f"ws://127.0.0.1:{port}/ws?{query}"
            for given in (options, options[2:]):
                left.ran(f"{status}: {given[0]}", run("trace", url, *given, "--hold", "1", "--format", "json", env=env))
    left.files(tmp_path)
    assert {where: found for where, text in left.texts.items() if (found := vault.leaks(text))} == {}


def test_no_secret_is_in_an_error_message(tmp_path: Path) -> None:
    vault, left = Vault(), Left()
    url = f"ws://127.0.0.1:1/?token={quote(vault.new('query'), safe='')}"
    user = f"ws://u:{quote(vault.new('userinfo'), safe='')}@"
    two = f"{vault.new('a word')} {vault.new('another word')}"
    (tmp_path / "token").write_text(two)
    wrong = [
        ["trace", url.replace("ws:", "xx:")],
        ["trace", f"{user}host:port/"],
        ["trace", f"{user}[::1/"],
        ["trace", url, url],
        ["trace", f"{user}127.0.0.1:1/", "-H", f"Authorization: Bearer {vault.new('a header')}"],
        ["trace", url, "-H", f"Authorization Bearer {vault.jwt('a header without a colon')}"],
        ["trace", url, "-H", f"Authorization: Bearer {vault.new('a header with a line break')}\r\nX: y"],
        ["trace", url, "--bearer-file", str(tmp_path / "token")],
        ["trace", url, "--bearer-cmd", f"cat {tmp_path / 'token'}"],
        ["trace", url, "--bearer-env", "T"],
        ["trace", url, "-x", f"{user.replace('ws', 'socks5')}host"],
        ["trace", url, "--no-such-option", f"Bearer {vault.jwt('an unknown option')}"],
        ["record", "edge", "--listen", "127.0.0.1:0", "--to", f"{user.replace('ws', 'http')}host/"],
    ]
    for number, words in enumerate(wrong):
        left.ran(str(number), run(*words, env={"T": two}), status=2)
    unreachable = run(
        "trace", f"{user}127.0.0.1:1/?token={vault.new('query')}", "-x", f"{user.replace('ws', 'http')}127.0.0.1:1"
    )
    left.ran("unreachable", unreachable, status=1)
    assert {where: places for where, text in left.texts.items() if (places := vault.leaks(text))} == {}
