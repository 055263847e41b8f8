"""The stand-in origin, through the command line: where it finds tokens, how it refuses, what it tells and records."""

import base64
import contextlib
import http.client
import json
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets import exceptions
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from tests import standin, tls, wire
from tests.standin import AUDIENCE, ISSUER, SECRET, StandIn, forged, stand_in, token
from wsprobe.model import Close, Ending, Observation, Sender, Verification

KEY = ["--jwt-key-env", "WSPROBE_TEST_KEY"]
ENV = {"WSPROBE_TEST_KEY": SECRET}


def opened(
    running: StandIn, path: str = "/ws", headers: dict[str, str] | None = None, offered: list[str] | None = None
) -> ClientConnection:
    subprotocols = [Subprotocol(element) for element in offered or ()] or None
    url = f"ws://{running.address}{path}"
    return connect(url, additional_headers=headers, subprotocols=subprotocols, proxy=None)


def bearer(value: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {value}"}


def get(
    running: StandIn, path: str, headers: dict[str, str] | None = None, method: str = "GET", body: bytes | None = None
) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection(running.address, timeout=10)
    with contextlib.closing(connection):
        connection.request(method, path, body=body, headers=headers or {})
        response = connection.getresponse()
        return response, response.read()


def raw(running: StandIn, request: bytes) -> tuple[bytes, bytes]:
    """Head and rest of all that comes back until the other side ends the connection."""
    with socket.create_connection(("127.0.0.1", running.port), timeout=10) as conn:
        conn.sendall(request)
        head, rest = wire.read_head(conn)
        answered = False
        while True:
            if rest[:1] == b"\x88" and not answered:  # a close frame: the server waits for its answer
                conn.sendall(wire.frame(wire.CLOSE, rest[2:4], mask=wire.MASK))
                answered = True
            chunk = conn.recv(65536)
            if not chunk:
                return head, rest
            rest += chunk


def ends(seen: Observation) -> list[tuple[Sender, Ending, int | None]]:
    return [(close.sender, close.ending, close.code) for close in seen.closes]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("origin")


# Where the token may stand.


@pytest.fixture(scope="module")
def everywhere(folder: Path) -> Iterator[StandIn]:
    """Looks in all four places."""
    places = ["header", "cookie:session", "query:access_token", "subprotocol"]
    with stand_in(folder, *KEY, *(word for place in places for word in ("--token-from", place)), env=ENV) as running:
        yield running


def kubernetes(value: str) -> str:
    return "base64url.bearer.authorization.k8s.io." + base64.urlsafe_b64encode(value.encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    ("carrier", "request_", "echoed"),
    [
        ("header Authorization", ("/ws", {"Authorization": "bearer {}"}, []), None),
        ("cookie session", ("/ws", {"Cookie": "a=b; session={}"}, []), None),
        ("query parameter access_token", ("/ws?x=1&access_token={}", {}, []), None),
        ("header Sec-WebSocket-Protocol", ("/ws", {}, ["chat.v2", "{}", "chat.v1"]), "chat.v2"),
        ("header Sec-WebSocket-Protocol", ("/ws", {}, ["{}", "chat.v1"]), "chat.v1"),
        ("header Sec-WebSocket-Protocol", ("/ws", {}, ["access_token", "{}"]), "access_token"),
        ("header Sec-WebSocket-Protocol", ("/ws", {}, ["{k8s}", "v4.channel.k8s.io"]), "v4.channel.k8s.io"),
        ("header Sec-WebSocket-Protocol", ("/ws", {}, ["{}"]), None),
    ],
)
def test_every_carrier(
    everywhere: StandIn, carrier: str, request_: tuple[str, dict[str, str], list[str]], echoed: str | None
) -> None:
    path, headers, offered = request_
    value = token()

    def filled(text: str) -> str:
        return text.replace("{k8s}", kubernetes(value)).replace("{}", value)

    before, told = len(everywhere.wait_for(0)), len(everywhere.log)
    more = {name: filled(text) for name, text in headers.items()}
    with opened(everywhere, filled(path), more, [filled(element) for element in offered]) as ws:
        assert ws.subprotocol == echoed
        ws.send("text")
        assert ws.recv() == "text"
        ws.send(b"\x00binary" * 30_000)
        assert ws.recv() == b"\x00binary" * 30_000
        ws.close(4242, "enough")
    seen = everywhere.wait_for(before + 1)[-1]
    assert seen.verification == Verification(carrier=carrier, valid=True)
    assert seen.frames
    assert (seen.frames.client["text"].frames, seen.frames.server["binary"].frames) == (1, 1)
    passed = [(one.sender, one.opcode) for one in seen.frames.first]
    assert passed == [
        (sender, kind) for kind in ("text", "binary", "close") for sender in (Sender.CLIENT, Sender.SERVER)
    ]
    frame = Ending.FRAME
    assert ends(seen)[:2] == [(Sender.CLIENT, frame, 4242), (Sender.SERVER, frame, 4242)]
    deadline = time.monotonic() + 10
    while len(everywhere.log) == told:  # the log is read in the background
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert everywhere.log[-1]["token"] == "verified"
    for text in (everywhere.raw_log.decode(), everywhere.records.read_text()):
        assert value not in text
        assert kubernetes(value) not in text
        assert value.rpartition(".")[2] not in text


def test_nothing_anywhere_names_all_places(everywhere: StandIn) -> None:
    with opened(everywhere) as ws, pytest.raises(exceptions.ConnectionClosedError) as closed:
        ws.recv()
    assert closed.value.rcvd
    assert closed.value.rcvd.code == 1011
    assert closed.value.rcvd.reason.startswith("no token in header Authorization or cookie session or query parameter")


# How it refuses.


def refused_with(running: StandIn, how: str, request: bytes, words: str) -> None:
    """Checks the bytes of a refusal, and that the record says the same."""
    before = len(running.wait_for(0))
    head, rest = raw(running, request)
    seen = running.wait_for(before + 1)[-1]
    if how in {"401", "403"}:
        assert head.startswith(f"HTTP/1.1 {how} ".encode())
        assert json.loads(rest)["problem"].startswith(words)
        assert (b"WWW-Authenticate: Bearer" in head) == (how == "401")
        assert seen.handshake
        assert not seen.handshake.upgraded
        return
    assert head.startswith(b"HTTP/1.1 101 ")
    if how == "drop":
        assert rest == b""
        assert ends(seen)[0] == (Sender.SERVER, Ending.EOF, None)
        return
    assert rest[0] == 0x88
    assert int.from_bytes(rest[2:4]) == int(how)
    assert rest[4:].decode().startswith(words)
    first: Close = seen.closes[0]
    assert (first.sender, first.ending, first.code) == (Sender.SERVER, Ending.FRAME, int(how))
    assert first.reason.startswith(words)


@pytest.mark.parametrize(
    ("missing", "bad"), [("1011", "403"), ("1008", "drop"), ("401", "1008"), ("403", "1011"), ("drop", "401")]
)
def test_every_way_to_refuse(folder: Path, missing: str, bad: str) -> None:
    with stand_in(folder, *KEY, "--on-missing-auth", missing, "--on-bad-auth", bad, env=ENV) as running:
        refused_with(running, missing, wire.upgrade(), "no token in header Authorization")
        expired = wire.upgrade(headers=[("Authorization", f"Bearer {token(exp=1)}")])
        refused_with(running, bad, expired, "the token in header Authorization was refused: expired")
        assert [seen.verification.reason for seen in running.seen() if seen.verification] == ["missing", "expired"]


def test_bad_is_refused_as_missing_is_by_default(folder: Path) -> None:
    with stand_in(folder, *KEY, "--on-missing-auth", "1008", env=ENV) as running:
        head = wire.upgrade(headers=[("Authorization", "Basic dXNlcjpwYXNzd29yZA==")])
        refused_with(running, "1008", head, "the token in header Authorization was refused: malformed")


@pytest.fixture(scope="module")
def strict(folder: Path) -> Iterator[StandIn]:
    """An RSA key, an audience and an issuer; the environment holds the PEM in one line."""
    pem = standin.public_pem(standin.rsa_key()).replace("\n", "\\n")
    arguments = [*KEY, "--audience", AUDIENCE, "--issuer", ISSUER, "--on-bad-auth", "401"]
    with stand_in(folder, *arguments, env={"WSPROBE_TEST_KEY": pem}) as running:
        yield running


def signed(**claims: object) -> str:
    alg, key = str(claims.pop("alg", "RS256")), claims.pop("key", standin.rsa_key())
    return token(key, alg, **{"aud": AUDIENCE, "iss": ISSUER, **claims})  # type: ignore[arg-type]


def confused() -> str:
    """An HMAC made with the public key as the secret (RFC 8725, 2.1)."""
    claims: dict[str, object] = {"aud": AUDIENCE, "iss": ISSUER}
    return forged({"alg": "HS256", "typ": "JWT"}, claims, standin.public_pem(standin.rsa_key()).encode())


@pytest.mark.parametrize(
    ("reason", "make"),
    [
        (None, signed),
        (None, lambda: signed(alg="PS384", aud=["other", AUDIENCE], sub=7)),
        ("expired", lambda: signed(exp=1_000_000_000)),
        ("not yet valid", lambda: signed(nbf=4_000_000_000)),
        ("audience", lambda: signed(aud="https://other.example.test")),
        ("audience", lambda: signed(aud=None)),
        ("issuer", lambda: signed(iss="https://evil.example.test")),
        ("signature", lambda: signed(key=standin.rsa_key("second"))),
        ("algorithm", lambda: signed(key=standin.ec_key(), alg="ES256")),
        ("algorithm", lambda: token(aud=AUDIENCE, iss=ISSUER)),
        ("algorithm", confused),
        ("algorithm", lambda: forged({"alg": "none"}, {"aud": AUDIENCE, "iss": ISSUER})),
        ("algorithm", lambda: forged({"alg": ["RS256"]}, {})),
        ("malformed", lambda: signed().rpartition(".")[0]),
        ("malformed", lambda: signed()[:-2]),
        ("malformed", lambda: signed()[:-5]),
        ("malformed", lambda: "opaque-value-that-is-no-token"),
        ("malformed", lambda: ""),
        ("malformed", lambda: "caf\xe9.a.b"),
        ("malformed", lambda: "eyJhbGciOiJSUzI1NiJ9." + "W" * 3000 + ".AAAA"),
        ("signature", lambda: "eyJhbGciOiJSUzI1NiJ9." + "W" * 3000 + "." + "A" * 342),
    ],
)
def test_why_a_token_does_not_hold(strict: StandIn, reason: str | None, make: object) -> None:
    assert callable(make)
    value = make()
    response, body = get(strict, "/api", {"Authorization": f"Bearer {value}"})
    told = json.loads(body)["verification"]
    assert told == {"carrier": "header Authorization", "valid": not reason} | ({"reason": reason} if reason else {})
    assert response.status == (401 if reason else 200)
    if reason:
        challenge = f'Bearer realm="wsprobe", error="invalid_token", error_description="{reason}"'
        assert response.headers["WWW-Authenticate"] == challenge
    assert strict.wait_for(1)[-1].verification == Verification(
        carrier="header Authorization", valid=not reason, reason=reason
    )
    assert not [part for part in value.split(".")[1:] if len(part) > 8 and part in body.decode()]


def test_without_a_key_presence_is_enough_and_it_says_so(folder: Path) -> None:
    with stand_in(folder) as running:
        assert running.log[0]["token"].startswith("must be there; it is not verified, since no key was given")
        with opened(running, headers=bearer("whatever-it-is")) as ws:
            ws.send("x")
            assert ws.recv() == "x"
        refused_with(running, "1011", wire.upgrade(), "no token")
        first = running.seen()[0]
        assert first.verification == Verification(
            carrier="header Authorization", valid=True, reason="not verified: no key"
        )


# Plain HTTP: the control of the incident.


def test_plain_http_tells_what_arrived_and_nothing_more(everywhere: StandIn) -> None:
    value = token()
    planted = {
        "Authorization": f"Bearer {value}",
        "Cookie": "session=planted-cookie-value; other=planted-other-value",
        "X-Api-Key": "planted-api-key",
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    }
    response, body = get(everywhere, "/api?access_token=planted-query-value&q=1", planted)
    told = json.loads(body)
    assert response.status == 200
    headers = dict(told["request"]["headers"])
    assert headers["Authorization"].startswith(f"Bearer [withheld {len(value)} characters JWT ")
    redaction = next(each for each in told["redactions"] if each["name"] == "Authorization")
    assert redaction["fingerprints"].keys() == {"trace:0af7651916cd43dd8448eb211c80319c"}
    everywhere.wait_for(1)
    answered = body.decode() + str(response.headers)
    for text in (answered, everywhere.records.read_text(), everywhere.raw_log.decode()):
        assert "planted" not in text
        assert value not in text
        assert value.split(".")[2] not in text


@pytest.mark.parametrize(
    ("path", "method", "headers", "status"),
    [
        ("/", "GET", {}, 200),
        ("/?probe=1", "HEAD", {}, 200),
        ("/", "GET", bearer("broken"), 200),
        ("/api", "GET", {}, 401),
        ("/api", "POST", bearer("broken"), 401),
        ("/api", "POST", bearer("{}"), 200),
    ],
)
def test_health_check_needs_no_token_and_all_else_does(
    everywhere: StandIn, path: str, method: str, headers: dict[str, str], status: int
) -> None:
    filled = {name: value.replace("{}", token()) for name, value in headers.items()}
    response, body = get(everywhere, path, filled, method, b"x" * 100_000 if method == "POST" else None)
    assert response.status == status
    assert bool(body) == (method != "HEAD")
    assert ("WWW-Authenticate" in response.headers) == (status == 401)


def test_upgrade_that_lost_its_headers_is_no_upgrade(everywhere: StandIn) -> None:
    whole = wire.upgrade().decode()
    for gone, status in (
        ("Upgrade: websocket\r\n", 426),
        ("Connection: Upgrade\r\n", 426),
        ("Sec-WebSocket-Version: 13\r\n", 426),
        (f"Sec-WebSocket-Key: {wire.KEY}\r\n", 400),
    ):
        head, body = raw(everywhere, whole.replace(gone, "").encode())
        assert head.startswith(f"HTTP/1.1 {status} ".encode())
        assert (b"Sec-WebSocket-Version: 13" in head) == (status == 426)
        assert json.loads(body)["problem"]


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        (None, 101),
        ("http://app.example.test", 101),
        ("http://APP.example.test:80", 101),
        ("https://app.example.test", 101),
        ("http://app.example.test:8080", 403),
        ("https://evil.example.test", 403),
        ("null", 403),
        ("http://[broken", 403),
    ],
)
def test_check_origin(checked: StandIn, origin: str | None, status: int) -> None:
    headers = [("Authorization", "Bearer x"), *([("Origin", origin)] if origin else [])]
    with socket.create_connection(("127.0.0.1", checked.port), timeout=10) as conn:
        conn.sendall(wire.upgrade(headers=headers))
        head, _ = wire.read_head(conn)
    assert head.startswith(f"HTTP/1.1 {status} ".encode())


@pytest.fixture(scope="module")
def checked(folder: Path) -> Iterator[StandIn]:
    with stand_in(folder, "--check-origin") as running:
        yield running


# TLS, and how it leaves.


def test_tls(folder: Path) -> None:
    cert = tls.self_signed(folder)
    with stand_in(folder, "--cert", str(cert.cert), "--key", str(cert.key)) as running:
        with connect(
            f"wss://localhost:{running.port}", ssl=cert.client(), additional_headers=bearer("x"), proxy=None
        ) as ws:
            ws.send("x")
            assert ws.recv() == "x"
        (seen,) = running.wait_for(1)
    assert seen.tls
    assert seen.tls.client
    assert (seen.tls.client.version, seen.tls.client.sni) == ("TLSv1.3", "localhost")


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_it_leaves_with_what_it_knows(folder: Path, number: int, status: int) -> None:
    with stand_in(folder) as running, opened(running, headers=bearer("x")) as ws:
        ws.send("x")
        assert ws.recv() == "x"
        first = running.seen()
        assert [seen.ended for seen in first] == [None]
        running.leave(number)
        with pytest.raises(exceptions.ConnectionClosedError):
            ws.recv(timeout=5)
    assert running.status == status
    (seen,) = running.seen()
    assert ends(seen) == [(Sender.LOCAL, Ending.EOF, None)]
    assert seen.frames
    assert seen.frames.server["text"].frames == 1
