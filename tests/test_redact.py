"""What leaves the recorder may be pasted into a public issue: a planted secret survives nowhere."""

import base64
import html
import json
import secrets
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsprobe.codec import encode_line
from wsprobe.model import (
    Anomaly,
    Body,
    Close,
    Ending,
    Expectation,
    Failure,
    Handshake,
    Header,
    Message,
    Observation,
    Recorder,
    Redaction,
    Sender,
    Verification,
)
from wsprobe.observer import Unredacted
from wsprobe.redact import MIN_SHARED_KEY, Redactor, redact, redact_text, shared_key

KEY = ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
OTHER_KEY = ("Sec-WebSocket-Key", "x3JJHMbDL1EzLkh9GBhXDw==")
SHARED = shared_key("a key that recorders share")
S = "Zq7xP2mN9vKt4LbR"
"""A secret as a test plants it where none is drawn."""


def b64url(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).decode().rstrip("=")


def jwt(signature: str, claims: dict[str, object] | None = None) -> str:
    header, body = ({"alg": "HS256", "typ": "JWT"}, {"sub": "alice", "aud": "chat"} if claims is None else claims)
    return f"{b64url(json.dumps(header).encode())}.{b64url(json.dumps(body).encode())}.{signature}"


def seen(  # noqa: PLR0913  the places where a secret can stand
    *request: Header,
    line: str = "GET /ws HTTP/1.1",
    key: Header = KEY,
    response: tuple[Header, ...] = (),
    status: str = "HTTP/1.1 401 Unauthorized",
    body: str | None = None,
    reason: str = "",
) -> Observation:
    answered = response or body is not None or status != "HTTP/1.1 401 Unauthorized"
    text = None if body is None else Body(text=body, size=len(body))
    return Observation(
        name="edge",
        instance="host",
        recorder=Recorder(kind="relay", version="0"),
        connection="c",
        exchange=0,
        trace=None,
        at="2026-01-01T00:00:00.000000Z",
        request=Message(start_line=line, headers=(key, *request)),
        response=Message(start_line=status, headers=response, body=text) if answered else None,
        closes=(Close(sender=Sender.SERVER, ending=Ending.FRAME, code=1008, reason=reason, at=0.5),),
        ended=1.0,
    )


def written(observation: Observation, key: bytes | None = None) -> str:
    """The line in the file, with all of JSON's escapes taken off."""
    line = encode_line(redact(Unredacted(observation), key))
    return json.dumps(json.loads(line), ensure_ascii=False).replace("\\\\", "\\").replace('\\"', '"')


def strings(document: object) -> Iterator[str]:
    if isinstance(document, str):
        yield document
    elif isinstance(document, dict):
        for name, value in document.items():
            yield name
            yield from strings(value)
    elif isinstance(document, list):
        for item in document:
            yield from strings(item)


def holds(observation: Observation, secret: str) -> bool:
    return any(secret in text for text in strings(json.loads(encode_line(redact(Unredacted(observation))))))


Plant = Callable[[str], Observation]


def header(name: str, form: str = "{}") -> Plant:
    return lambda secret: seen((name, form.format(secret)))


def answer(name: str, form: str = "{}") -> Plant:
    return lambda secret: seen(response=((name, form.format(secret)),))


def target(form: str) -> Plant:
    return lambda secret: seen(line=f"GET {form.format(secret)} HTTP/1.1")


def body(form: str) -> Plant:
    return lambda secret: seen(body=form.replace("{}", secret))


def reason(form: str) -> Plant:
    return lambda secret: seen(reason=form.replace("{}", secret))


def encoded(plant: Plant, times: int = 1) -> Plant:
    """The secret percent-encoded, so often."""

    def planted(secret: str) -> Observation:
        for _ in range(times):
            secret = quote(secret, safe="")
        return plant(secret)

    return planted


CREDENTIAL_HEADERS = (
    "Authorization",
    "Proxy-Authorization",
    "Cookie",
    "X-Api-Key",
    "X-Auth-Token",
    "X-Session-Id",
    "Client-Secret",
    "X-CSRF-Token",
    "X-Serverless-Authorization",
    "X-Forwarded-Authorization",
    "X-Goog-IAP-JWT-Assertion",
    "X-Goog-Authenticated-User-Id",
    "X-Amz-Security-Token",
    "X-Amzn-Oidc-Accesstoken",
    "X-Amzn-Oidc-Data",
    "X-MS-CLIENT-PRINCIPAL",
    "X-MS-TOKEN-AAD-ID-TOKEN",
    "Cf-Access-Jwt-Assertion",
    "X-Forwarded-Access-Token",
    "X-Auth-Request-Access-Token",
    "X-Forwarded-User",
    "X-ARR-ClientCert",
    "X-Forwarded-Client-Cert",
)

ANY_OCTETS: dict[str, Plant] = {
    **{f"request header {name}": header(name) for name in CREDENTIAL_HEADERS},
    **{f"response header {name}": answer(name) for name in ("Set-Cookie", "X-Access-Token", "X-Session")},
    "Bearer": header("Authorization", "Bearer {}"),
    "a scheme that nobody knows": header("Authorization", "Foo {}"),
    "a scheme and two spaces": header("Authorization", "Bearer  {}"),
    "a header in another case": header("aUTHORIZATION", "bearer {}"),
    "Digest": header("Authorization", 'Digest username="a", response="{}"'),
    "a subprotocol behind a marker": header("Sec-WebSocket-Protocol", "chat, bearer, {}"),
    "a subprotocol as Kubernetes does it": header(
        "Sec-WebSocket-Protocol", "base64url.bearer.authorization.k8s.io.{}, v4.channel.k8s.io"
    ),
    "a subprotocol with a prefix": header("Sec-WebSocket-Protocol", "graphql-ws, token.{}"),
    "a JWT's signature": lambda secret: seen(("X-Anything", jwt(b64url(secret.encode())))),
    "Basic": lambda secret: seen(("Authorization", f"Basic {base64.b64encode(f'alice:{secret}'.encode()).decode()}")),
}
"""Places that keep a secret whatever it is made of."""

IN_A_COOKIE: dict[str, Plant] = {
    "a cookie": header("Cookie", "theme=dark; sid={}; lang=en"),
    "a cookie of any name": header("Cookie", "x={}"),
    "a cookie without a name": header("Cookie", "{}"),
    "a cookie with an empty name": header("Cookie", "={}"),
    "a cookie in quotes": header("Cookie", 'x="{}"'),
    "Set-Cookie": answer("Set-Cookie", "x={}; Path=/; HttpOnly; Expires=Wed, 21 Oct 2026 07:28:00 GMT"),
    "an attribute of Set-Cookie that is none": answer("Set-Cookie", "x=1; Path=/; y={}"),
}

IN_A_QUERY: dict[str, Plant] = {
    "the query": target("/ws?room=1&access_token={}&x=2"),
    "the query's last parameter": target("/ws?token={}"),
    "a parameter whose name is encoded": target("/ws?%74oken={}"),
    "a parameter whose name is encoded twice": target("/ws?%2574oken={}"),
    "a parameter with brackets": target("/ws?user[api_key]={}"),
    "a parameter behind a semicolon": target("/ws?a=1;sid={}"),
    "a parameter of the path": target("/ws;jsessionid={}"),
    "an absolute target's query": target("http://h.example/ws?secret={}"),
    "Location's query": answer("Location", "https://h.example/cb?code={}&state=1"),
    "Location's fragment": answer("Location", "https://h.example/cb#access_token={}&x=1"),
    "Referer's query": header("Referer", "https://h.example/?auth={}"),
    "X-Forwarded-Uri": header("X-Forwarded-Uri", "/ws?ticket={}"),
    "Link": answer("Link", '<https://h.example/?sig={}>; rel="next"'),
    "Refresh": answer("Refresh", "0; url=/login?session={}"),
    "a URL in an error body": body('<a href="https://h.example/?token={}">again</a>'),
    "a URL in an escaped attribute": body('<a href="/x?a=1&amp;token={}">again</a>'),
    "a URL in a close reason": reason("see https://h.example/?token={}"),
    "SigV4": target("/ws?X-Amz-Credential=AKIA&X-Amz-Signature={}"),
    "SAML": target("/acs?SAMLResponse={}"),
    "PHP's session": target("/ws?PHPSESSID={}"),
    "a URL in a parameter": encoded(target("/ws?next=https%3A%2F%2Fh%2F%3Ftoken%3D{}")),
    "a URL in a parameter, encoded twice": encoded(target("/ws?next=https%253A%252F%252Fh%252F%253Ftoken%253D{}"), 2),
    "a form in a parameter": encoded(target("/ws?state=a%3D1%26access_token%3D{}")),
    "JSON in a parameter": encoded(target("/ws?q=%7B%22token%22%3A%22{}%22%7D")),
}
"""Places for a secret that is written as a URL has it: percent-encoded."""

IN_USERINFO: dict[str, Plant] = {
    "an absolute target's userinfo": target("http://alice:{}@h.example/ws"),
    "Location's userinfo": answer("Location", "https://alice:{}@h.example/"),
    "a user without a password": answer("Location", "https://{}@h.example/"),
    "Referer's userinfo": header("Referer", "wss://alice:{}@h.example:8443/ws"),
    "an error body's userinfo": body("cannot connect to redis://:{}@10.0.0.1:6379/0"),
    "JSON with escaped slashes": body('{"url":"https:\\/\\/alice:{}@h.example\\/"}'),
    "a close reason's userinfo": reason("upstream https://alice:{}@h/"),
    "CONNECT": lambda secret: seen(line=f"CONNECT alice:{secret}@h.example:443 HTTP/1.1"),
    "userinfo in a parameter": encoded(target("/go?to=https%3A%2F%2Falice%3A{}%40h.example%2F")),
    "userinfo in a path": encoded(target("/go/https%3A%2F%2Falice%3A{}%40h.example")),
    "userinfo encoded twice": encoded(target("/go?to=https%253A%252F%252Falice%253A{}%2540h.example"), 2),
}

IN_TEXT: dict[str, Plant] = {
    "JSON": body('{"error":"denied","access_token":"{}","x":1}'),
    "JSON with spaces": body('{ "token" : "{}" }'),
    "JSON in JSON": body('{"message":"{\\"token\\":\\"{}\\"}"}'),
    "JSON in JSON as .NET writes it": body('{"message":"{\\u0022token\\u0022:\\u0022{}\\u0022}"}'),
    "JSON in HTML": body("<pre>{&quot;token&quot;:&quot;{}&quot;}</pre>"),
    "JSON that was cut off": body('{"token":"{}'),
    "a list in JSON, as Go has headers": body('{"X-Api-Key":["{}"]}'),
    "a list of cookies in JSON": body('{"Cookie":["theme=dark","sid={}"]}'),
    "an object in JSON": body('{"credentials":{"user":"alice","value":"{}"},"x":1}'),
    "nested objects in JSON": body('{"auth":{"a":{"b":"}"},"c":"{}"}}'),
    "names and values, as HAR has headers": body('{"headers":[{"name":"X-Api-Key","value":"{}"}]}'),
    "pairs, as ASGI has headers": body("[(b'host', b'h'), (b'x-api-key', b'{}')]"),
    "pairs in JSON": body('[["Host","h"],["Authorization","Foo {}"]]'),
    "a number's place": body('{"pin":{}}'),
    "XML": body("<error><password>{}</password></error>"),
    "XML that is escaped": body("&lt;token&gt;{}&lt;/token&gt;"),
    "XML with an element in it": body("<credentials><value>{}</value></credentials>"),
    "a hidden field": body('<input type="hidden" name="csrf_token" value="{}">'),
    "a hidden field the other way round": body("<input value='{}' type=hidden name='authenticity_token'/>"),
    "a meta element": body('<meta name="csrf-token" content="{}" />'),
    "YAML": body("user: alice\ntoken: {}\n"),
    "a hash of Ruby": body('{:user=>"alice", "api_key"=>"{}"}'),
    "a dumped head": body("GET /ws HTTP/1.1\r\nHost: h\r\nX-Api-Key: {}\r\n"),
    "a dumped head's unknown scheme": body("Host: h\nAuthorization: Foo {}\nAccept: */*"),
    "a dumped head's cookies": body("Cookie: theme=dark; x={}; lang=en\n"),
    "a dumped head in JSON": body('{"dump":"Host: h\\r\\nAuthorization: Foo {}\\r\\nAccept: */*"}'),
    "a form": body("user=alice&password={}&x=1"),
    "a scheme in a sentence": reason("cannot accept Bearer {} here"),
    "a scheme and quotes": reason("bad token '{}'"),
    "a scheme in a query": target("/ws?q=Bearer+{}"),
    "a token of a well-known service": reason("bad glpat-{}{}"),
    "a key in PEM": body("-----BEGIN RSA PRIVATE KEY-----\n{}\n-----END RSA PRIVATE KEY-----"),
    "nothing but a token of a well-known service": reason("ghp_{}00000000000000000000"),
    "a name in a sentence": reason("session {} is not known"),
    "a name and a verb": reason("the ticket is '{}'"),
    "a name and a colon": reason("api_key: {}"),
    "a name and an equals sign": reason("unknown key={}, try again"),
    "a reason phrase": lambda secret: seen(status=f"HTTP/1.1 401 token={secret}"),
    "a header of any name": header("X-Debug", "token={}; a=1"),
    "JSON in a header": header("X-Context", '{"token": "{}"}'.replace("{", "{{", 1).replace('"}', '"}}')),
    "a header whose colon is missing": lambda secret: seen((f"X-Api-Key {secret}", "")),
    "a header whose colon is missing, with a tab": lambda secret: seen((f"X-Api-Key\t{secret}", "")),
    "a header where the request line should be": lambda secret: seen(line=f"X-Api-Key: {secret}"),
    "a path behind a name": target("/v1/token/{}/ws"),
    "a query that is nothing else": target("/ws?{}"),
    "another subprotocol": header("Sec-WebSocket-Protocol", "graphql-ws, {}"),
    "another subprotocol that was echoed": answer("Sec-WebSocket-Protocol", "{}"),
    "a JWT in a path": lambda secret: seen(line=f"GET /ws/{jwt(secret)}/x HTTP/1.1"),
    "a JWT in Location": lambda secret: seen(response=(("Location", f"/login/{jwt(secret)}"),)),
    "a JWT in a close reason": lambda secret: seen(reason=f"invalid token {jwt(secret)}"),
    "a JWT in an error body": lambda secret: seen(body=f"<p>{jwt(secret)} is expired</p>"),
    "a JWT in WWW-Authenticate": lambda secret: seen(response=(("WWW-Authenticate", f'Bearer error="{jwt(secret)}"'),)),
    "a JWT without claims": lambda secret: seen(reason=f"x eyJhbGciOiJIUzI1NiJ9..{secret}"),
    "a JWT with padding": lambda secret: seen(reason=f"x eyJhbGciOiJIUzI1NiJ9=.eyJzdWIiOjEyfQ==.{secret}"),
    "a JWT with encoded dots": lambda secret: seen(reason=f"x eyJhbGciOiJIUzI1NiJ9%2EeyJzdWIiOjEyfQ%2e{secret}"),
    "a JWT with a space in its header": reason("x " + b64url(b'{ "alg": "HS256" }') + ".e30.{}"),
    "a JWT with a line in its header": reason("x " + b64url(b'{\r\n "alg":"none"}') + ".e30.{}"),
    "a JWT that was encoded once more": lambda secret: seen(reason=f"x {b64url(jwt(secret).encode())}"),
}
"""Places for a secret that looks like one."""

opaque = st.builds(
    lambda head, tail: f"{head}4xQ9{tail}",
    st.text("abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789", min_size=5, max_size=12),
    st.text("abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789", min_size=5, max_size=24),
)
"""As a machine draws it: letters and digits."""
printable = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=7, max_size=40).map("Zq7".__add__)
"""As a person or base64 has it: with any sign."""
cookie_octets = printable.map(lambda text: text.replace(";", "!"))
alone = printable.map(lambda text: text.strip(",;='\"").replace(",", "!").ljust(10, "x"))
encoded_signs = printable.map(lambda text: quote(text, safe="")).filter(lambda text: len(text) > 9)


def plants(*tables: dict[str, Plant]) -> st.SearchStrategy[tuple[str, Plant]]:
    return st.sampled_from([item for table in tables for item in table.items()])


@pytest.mark.parametrize(
    "plant",
    [
        pytest.param(plant, id=place)
        for table in (ANY_OCTETS, IN_A_COOKIE, IN_A_QUERY, IN_USERINFO, IN_TEXT)
        for place, plant in table.items()
    ],
)
def test_a_secret_does_not_survive_in(plant: Plant) -> None:
    observation = plant(S)
    line = written(observation)
    assert S not in line
    assert "[withheld " in line
    assert redact(Unredacted(observation)).redactions


@settings(max_examples=300)
@given(plants(ANY_OCTETS, IN_A_COOKIE, IN_A_QUERY, IN_USERINFO, IN_TEXT), opaque)
def test_no_secret_that_a_machine_drew_survives(place: tuple[str, Plant], secret: str) -> None:
    assert not holds(place[1](secret), secret), place[0]


@settings(max_examples=200)
@given(plants(ANY_OCTETS), alone)
def test_no_secret_of_any_signs_survives_in_a_credential(place: tuple[str, Plant], secret: str) -> None:
    assert not holds(place[1](secret), secret), place[0]


@given(plants(IN_A_COOKIE), cookie_octets)
def test_no_secret_of_any_signs_survives_in_a_cookie(place: tuple[str, Plant], secret: str) -> None:
    assert not holds(place[1](secret), secret), place[0]


@settings(max_examples=200)
@given(plants(IN_A_QUERY, IN_USERINFO), encoded_signs)
def test_no_encoded_secret_survives_in_a_url(place: tuple[str, Plant], secret: str) -> None:
    assert not holds(place[1](secret), secret), place[0]


@pytest.mark.parametrize("sign", list("!$'()*+,;:=/?@\"<>[]\\^`{|}~"))
def test_signs_that_a_url_should_have_encoded_hide_nothing(sign: str) -> None:
    secret = f"ab{sign}{S}"
    for plant in (target("/ws?token={}"), answer("Location", "/cb?token={}"), header("X-Forwarded-Uri", "/x?token={}")):
        assert not holds(plant(secret), S)


@given(st.sampled_from(["token", "X-Api-Key", "password", "set-cookie", "authorization"]), printable)
def test_no_secret_of_any_signs_survives_in_json(name: str, secret: str) -> None:
    inner = json.dumps({"a": 1, name: secret, "b": "c"})
    for text in (inner, json.dumps({"message": inner}), json.dumps([{name: [secret]}]), html.escape(inner)):
        clean = redact_text(text)
        for spelled in (secret, json.dumps(secret)[1:-1], html.escape(secret)):
            assert spelled not in clean


# What was secret in one place is secret in all.


SPELLINGS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "percent-encoded": lambda secret: quote(secret, safe=""),
    "percent-encoded in lower case": lambda secret: "".join(
        char if char.isalnum() else f"%{ord(char):02x}" for char in secret
    ),
    "percent-encoded twice": lambda secret: quote(quote(secret, safe=""), safe=""),
    "percent-encoded to the last octet": lambda secret: "".join(f"%{ord(char):02X}" for char in secret),
    "escaped for JSON": lambda secret: json.dumps(secret)[1:-1],
    "escaped for JSON as PHP does it": lambda secret: json.dumps(secret)[1:-1].replace("/", "\\/"),
    "escaped for JSON as Go does it": lambda secret: secret.replace("&", "\\u0026").replace("+", "\\u002b"),
    "escaped for HTML": html.escape,
    "in numbers of HTML": lambda secret: "".join(char if char.isalnum() else f"&#{ord(char)};" for char in secret),
}
WITHHELD: dict[str, Callable[[str], tuple[Header, ...]]] = {
    "Bearer": lambda secret: (("Authorization", f"Bearer {secret}"),),
    "an unknown scheme": lambda secret: (("Authorization", f"Foo {secret}"),),
    "Basic": lambda secret: (("Authorization", f"Basic {base64.b64encode(f'alice:{secret}'.encode()).decode()}"),),
    "a cookie": lambda secret: (("Cookie", f"a=1; sid={secret}"),),
    "an API key": lambda secret: (("X-Api-Key", secret),),
    "a subprotocol": lambda secret: (("Sec-WebSocket-Protocol", f"bearer, {secret}"),),
    "a subprotocol as Kubernetes does it": lambda secret: (
        ("Sec-WebSocket-Protocol", f"base64url.bearer.authorization.k8s.io.{b64url(secret.encode())}"),
    ),
    "userinfo": lambda secret: (("Referer", f"https://alice:{quote(secret, safe='')}@h.example/"),),
}
ECHOES: dict[str, Callable[[str, tuple[Header, ...]], Observation]] = {
    "an error body": lambda text, headers: seen(*headers, body=f"no {text} here"),
    "an error body of JSON": lambda text, headers: seen(*headers, body=f'{{"detail":"bad {text}","x":1}}'),
    "a close reason": lambda text, headers: seen(*headers, reason=f"no {text}"),
    "a response header": lambda text, headers: seen(*headers, response=(("X-Debug", f"got {text}"),)),
    "Location": lambda text, headers: seen(*headers, response=(("Location", f"/login/{text}"),)),
    "WWW-Authenticate": lambda text, headers: seen(
        *headers, response=(("WWW-Authenticate", f'Bearer error="{text}"'),)
    ),
    "a reason phrase": lambda text, headers: seen(*headers, status=f"HTTP/1.1 401 not {text}"),
    "the request line": lambda text, headers: seen(*headers, line=f"GET /{text} HTTP/1.1"),
    "another request header": lambda text, headers: seen(("X-Trace", text), *headers),
}


@pytest.mark.parametrize("echo", [pytest.param(echo, id=f"echoed in {place}") for place, echo in ECHOES.items()])
@pytest.mark.parametrize("headers", [pytest.param(made, id=f"sent as {place}") for place, made in WITHHELD.items()])
def test_a_secret_is_not_echoed(
    headers: Callable[[str], tuple[Header, ...]], echo: Callable[[str, tuple[Header, ...]], Observation]
) -> None:
    for secret in (S, "ab+cd/ef&gh!i"):
        for name, spell in SPELLINGS.items():
            clean = written(echo(spell(secret), headers(secret)))
            assert spell(secret) not in clean, name
            assert secret not in clean, name


@settings(max_examples=150)
@given(
    st.sampled_from(sorted(WITHHELD)),
    st.sampled_from(sorted(ECHOES)),
    st.sampled_from(sorted(SPELLINGS)),
    st.text("abcXYZ0189+/=&%!$_.~-", min_size=10, max_size=30).filter(lambda text: len(set(text)) > 4),
)
def test_no_secret_is_echoed_however_it_is_spelled(sent: str, echoed: str, spelled: str, secret: str) -> None:
    secret = "q7" + secret.strip(" ,;=")
    observation = ECHOES[echoed](SPELLINGS[spelled](secret), WITHHELD[sent](secret))
    assert not holds(observation, secret)


def test_a_part_of_a_credential_is_not_echoed() -> None:
    for value in (f"Foo {S}", f'Digest username="a", response="{S}"', f"Basic x, Bearer {S}"):
        assert S not in written(seen(("Authorization", value), body=f"bad {S}"))
    assert S not in written(seen(("Cookie", f"sid=s%3A{S}.yyyyyyyyy8"), body=f"no session {S}"))


def test_a_short_secret_does_not_leave_the_rest_of_a_long_one_behind() -> None:
    headers = (("Cookie", f"a={S}; b={S}-and-9-more"), ("X-Api-Key", f"0{S}"))
    clean = written(seen(*headers, body=f"{S}-and-9-more 0{S}"))
    assert S not in clean
    assert "and-9-more" not in clean


def test_a_secret_that_was_cut_off_with_its_text_is_not_shown() -> None:
    long = f"{S}-{S}-and-9-more"
    for cut in range(10, len(long)):
        assert S[:10] not in written(seen(("X-Api-Key", long), reason=f"bad: {long[:cut]}"))
        assert S[:10] not in written(seen(("X-Api-Key", long), body=f"bad: {long[:cut]}"))


def test_a_short_password_is_not_echoed() -> None:
    basic = base64.b64encode(b"alice:hunter2").decode()
    assert "hunter2" not in written(seen(("Authorization", f"Basic {basic}"), reason="hunter2 is wrong"))


@pytest.mark.parametrize("password", ["pässwörd99", "日本語のパスワード", "naïve-Zq7x"])
def test_a_secret_beyond_ascii_is_not_echoed_in_any_encoding(password: str) -> None:
    octets = password.encode()
    basic = base64.b64encode(b"alice:" + octets).decode()
    for sent in (("X-Api-Key", octets.decode("latin-1")), ("Authorization", f"Basic {basic}")):
        for echo in (password, octets.decode("latin-1"), quote(password)):
            assert echo not in written(seen(sent, body=f"bad {echo}"))
    if max(password) < "\u0100":
        raw = password.encode("latin-1")
        echo = raw.decode("utf-8", "replace")
        assert echo not in written(seen(("X-Api-Key", raw.decode("latin-1")), body=f"bad {echo}"))


def test_a_secret_in_the_name_of_something_is_not_told_in_the_manifest() -> None:
    assert S not in written(seen(("X-Api-Key", S), line=f"GET /?session[{S}]=x HTTP/1.1"))


def test_ordinary_words_that_some_cookie_holds_stay_in_the_frame() -> None:
    clean = redact(
        Unredacted(
            seen(
                ("Host", "app.example.com"),
                ("Upgrade", "websocket"),
                ("Connection", "keep-alive, Upgrade"),
                ("Cookie", f"a=websocket; b=app.example.com; c=keep-alive; d=upgrade; e={KEY[1]}"),
            )
        )
    )
    assert clean.request is not None
    assert clean.request.headers[:4] == (
        KEY,
        ("Host", "app.example.com"),
        ("Upgrade", "websocket"),
        ("Connection", "keep-alive, Upgrade"),
    )


def test_every_text_of_an_observation_is_cleaned() -> None:
    observation = seen(("Authorization", f"Foo {S}"))
    fields = {
        "interim": (f"HTTP/1.1 103 {S}",),
        "anomalies": (Anomaly(sender=Sender.SERVER, kind="not an HTTP response", detail=f"oops {S}", at=0.0),),
        "failure": Failure(phase="tcp", kind="refused", message=f"cannot reach ws://u:{S}@h"),
        "verification": Verification(carrier="header", valid=False, reason=f"{S} is no token"),
        "expectations": (Expectation(kind="send", what=f'{{"token":"{S}"}}', met=False),),
        "handshake": Handshake(asked=True, upgraded=True, connection=(S,), extensions=(S,)),
    }
    for name, value in fields.items():
        changed = {field: getattr(observation, field) for field in observation.__dataclass_fields__} | {name: value}
        assert S not in written(Observation(**changed)), name


def test_what_a_token_says_is_told_without_what_does_not_belong_there() -> None:
    claims = {"iss": f"https://u:{S}@id.example", "aud": [f"https://h/?token={S}", "chat"], f"x token={S}": 1}
    clean = redact(Unredacted(seen(("Authorization", f"Bearer {jwt('x' * 43, dict(claims))}"))))
    told = clean.redactions[0].jwt
    assert told is not None
    assert told.aud == ("[withheld]", "chat")
    assert told.alg == "HS256"
    assert S not in str(clean)


# What explains stays.


@pytest.mark.parametrize(
    ("name", "value"),
    [
        KEY,
        ("Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits=15; server_no_context_takeover"),
        ("Sec-WebSocket-Protocol", "graphql-transport-ws, v4.channel.k8s.io, mqtt, actioncable-v1-json, ocpp1.6"),
        ("Sec-WebSocket-Protocol", "wamp.2.json"),
        ("WWW-Authenticate", 'Bearer realm="api", error="invalid_token", error_description="The token expired"'),
        ("WWW-Authenticate", 'Basic realm="Staging: ask your key holder", charset="UTF-8"'),
        (
            "WWW-Authenticate",
            'Digest realm="x", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", qop="auth", opaque="5ccc06"',
        ),
        ("Proxy-Authenticate", "Negotiate"),
        ("Authentication-Info", 'nextnonce="47364c23432d2e131a5fb210812c", qop=auth, rspauth="6629fae49393a05397450"'),
        ("Host", "app.example.test:8443"),
        ("Origin", "https://app.example.test:8443"),
        ("Upgrade", "websocket"),
        ("Connection", "keep-alive, Upgrade"),
        ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
        ("User-Agent", "wsprobe/0.1.0 (+https://h.example/docs)"),
        ("X-Forwarded-For", "203.0.113.7, 10.0.0.1, [2001:db8::1]:4711"),
        ("Forwarded", 'for=192.0.2.60;proto=http;by=203.0.113.43;host="h.example:80"'),
        ("Via", "1.1 edge-7f9c (Varnish/7.1), 1.1 google"),
        ("Date", "Mon, 23 Nov 2026 23:50:13 GMT"),
        ("Server", "nginx/1.28.0"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("X-Request-Id", "0af76519-16cd-43dd-8448-eb211c80319c"),
        ("Content-Type", "text/html; charset=utf-8"),
        ("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
        ("Accept-Language", "en-GB,en;q=0.5"),
        ("Strict-Transport-Security", "max-age=31536000; includeSubDomains"),
        ("Alt-Svc", 'h3=":443"; ma=86400'),
        ("Sec-CH-UA", '"Chromium";v="124", "Not-A.Brand";v="99"'),
        ("Location", "https://h.example/login?next=%2Fws%3Froom%3D1&lang=en"),
        ("Access-Control-Allow-Credentials", "true"),
        ("Vary", "Origin, Cookie, Authorization"),
        ("From", "mailto:webmaster@example.org"),
    ],
)
def test_a_header_that_is_no_secret_is_kept(name: str, value: str) -> None:
    others = (KEY,) if name == KEY[0] else (KEY, (name, value))
    clean = redact(Unredacted(seen(*others[1:], response=((name, value),))))
    assert clean.request is not None
    assert clean.response is not None
    assert (clean.request.headers, clean.response.headers) == (others, ((name, value),))
    assert clean.redactions == ()


@pytest.mark.parametrize(
    "text",
    [
        "code: 401",
        "code=4401, bye",
        '{"code":401,"error":"Unauthorized"}',
        '{"code":"TOKEN_EXPIRED","message":"token expired"}',
        "token: expired",
        "Token expired",
        "JWT expired at 2026-11-23T23:50:13Z",
        "Bearer token missing",
        "Basic authentication required",
        "signature verification failed",
        "password: incorrect",
        "authorization failed: no header",
        "Authorization: header is missing",
        "session is closed",
        "your session has expired, sign in again",
        "<h1>401 Authorization Required</h1><hr><center>nginx/1.28.0</center>",
        "<code>ERR_TOKEN_EXPIRED</code>",
        "no key in table users",
        "upstream connect error or disconnect/reset before headers. reset reason: connection timeout",
        "contact bob@example.com",
        "internal error",
        "",
    ],
)
def test_a_text_that_explains_is_kept(text: str) -> None:
    assert redact_text(text) == text
    clean = redact(Unredacted(seen(("Authorization", f"Bearer {S}"), body=text, reason=text)))
    assert clean.response is not None
    assert clean.response.body is not None
    assert (clean.response.body.text, clean.closes[0].reason) == (text, text)


@pytest.mark.parametrize(
    "line",
    [
        "GET /ws?room=1&lang=en&v=2.0 HTTP/1.1",
        "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1",
        "GET /v1/users/42/events HTTP/1.1",
        "GET /token/refresh HTTP/1.1",
        "GET /?wsprobe=0af7651916cd43dd8448eb211c80319c HTTP/1.1",
        "GET /?q=100%25%20sure HTTP/1.1",
        "CONNECT h.example:443 HTTP/1.1",
        "\x16\x03\x01\x02\x00\x01",
    ],
)
def test_a_target_that_is_no_secret_is_kept(line: str) -> None:
    clean = redact(Unredacted(seen(line=line)))
    assert clean.request is not None
    assert clean.request.start_line == line


# What is told of a secret.


def only(observation: Observation, key: bytes | None = None) -> Redaction:
    (redaction,) = redact(Unredacted(observation), key).redactions
    return redaction


def test_of_a_credential_scheme_length_and_fingerprint_are_told() -> None:
    value = secrets.token_urlsafe(32)
    found = only(seen(("Authorization", f"Bearer {value}")))
    assert (found.message, found.header, found.name, found.scheme, found.length) == (
        "request", 1, "Authorization", "Bearer", len(value)
    )  # fmt: skip
    assert found.fingerprints is not None
    (key_id,) = found.fingerprints
    assert key_id == f"trace:{base64.b64decode(KEY[1]).hex()}"
    assert found.shown == f"[withheld {len(value)} characters fp {found.fingerprints[key_id]}]"


def test_of_a_jwt_the_length_of_each_part_is_told() -> None:
    token = jwt(secrets.token_urlsafe(32))
    found = only(seen(("Authorization", f"Bearer {token}")))
    assert found.parts == tuple(len(part) for part in token.split("."))
    assert found.jwt is not None
    assert (found.jwt.alg, found.jwt.aud, found.jwt.claims) == ("HS256", ("chat",), ("sub", "aud"))


def test_equal_values_have_equal_fingerprints_under_one_key_and_others_under_another() -> None:
    value, other = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
    first = only(seen(("Authorization", f"Bearer {value}"))).fingerprints
    assert first == only(seen(("X-Api-Key", value))).fingerprints
    assert first != only(seen(("X-Api-Key", other))).fingerprints
    elsewhere = only(seen(("X-Api-Key", value), key=OTHER_KEY)).fingerprints
    assert first is not None
    assert elsewhere is not None
    assert first.keys().isdisjoint(elsewhere.keys())
    assert set(first.values()).isdisjoint(elsewhere.values())


@pytest.mark.parametrize(
    "sent",
    [
        ("Authorization", "Basic " + base64.b64encode(b"alice:correct horse battery").decode()),
        ("Authorization", "Basic " + base64.b64encode(b"alice:" + secrets.token_urlsafe(32).encode()).decode()),
        ("Authorization", f"Digest {secrets.token_hex(32)}"),
        ("Cookie", "theme=dark"),
        ("Cookie", "user=" + base64.b64encode(b'{"name":"alice","admin":false,"n":1}').decode()),
        ("X-Api-Key", S),
        ("Authorization", "Bearer e4b2c9d1-7f3a-4c58-9b6e-0d2f8a1c5e37"),
    ],
)
def test_what_may_be_guessed_has_a_fingerprint_only_under_the_shared_key(sent: Header) -> None:
    assert only(seen(sent)).fingerprints is None
    shared = only(seen(sent), SHARED).fingerprints
    assert shared is not None
    (key_id,) = shared
    assert key_id.startswith("key:")
    assert shared == only(seen(sent, key=OTHER_KEY), SHARED).fingerprints
    assert shared != only(seen(sent), shared_key("another key that recorders share")).fingerprints


def test_what_cannot_be_guessed_has_one_under_each_key() -> None:
    found = only(seen(("X-Api-Key", secrets.token_hex(32))), SHARED).fingerprints
    assert found is not None
    assert sorted(key_id.partition(":")[0] for key_id in found) == ["key", "trace"]


def test_without_an_id_or_a_key_there_is_no_fingerprint() -> None:
    constant = ("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA==")
    assert only(seen(("X-Api-Key", secrets.token_hex(32)), key=constant)).fingerprints is None


@pytest.mark.parametrize("key", ["", "x", "x" * (MIN_SHARED_KEY - 1)])
def test_a_shared_key_that_is_too_short_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match=f"has {len(key)} characters: give it at least {MIN_SHARED_KEY}"):
        shared_key(key)


def test_a_secret_that_stands_twice_is_listed_at_both_places() -> None:
    clean = redact(Unredacted(seen(("X-Api-Key", S), response=(("X-Debug", S),), body=S, reason=S)))
    places = [(found.message, found.header) for found in clean.redactions]
    assert sorted(places, key=str) == [("closes", None), ("request", 1), ("response", 0), ("response", None)]
    assert {found.shown for found in clean.redactions} == {f"[withheld {len(S)} characters]"}


def test_the_second_line_of_an_exchange_is_redacted_like_the_first() -> None:
    redactor = Redactor()
    whole = seen(("Authorization", f"Bearer {S}"), reason=f"no {S}")
    first = Unredacted(Observation(**{
        **{name: getattr(whole, name) for name in whole.__dataclass_fields__}, "closes": (), "ended": None
    }))  # fmt: skip
    assert redactor.redact(first) == redact(first)
    assert redactor.redact(Unredacted(whole)) == redact(Unredacted(whole))


# Hostile peers.


@contextmanager
def not_for_ever(seconds: int = 10) -> Iterator[None]:
    """Fails what would take for ever: the bound is far above what is needed, and no measure of speed."""

    def fail(*_: object) -> NoReturn:
        pytest.fail(f"not done in {seconds} s")

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


HOSTILE = (
    "a", " ", "=", ":", "@", "/", "//", "//a:", "//a:b", "%", "%25", "%2", "\\", '\\"', '"', "'", "`", "&", "&quot;",
    "&#9", "<", "<a ", "<token>", "<input ", "[", "{", '{"key":', '{"key":"', '"key",', "key", "key=", "key:",
    "cookie: ", "cookie:", "authorization: a ", "authorization: Bearer ", "token ", "token:.", "Basic ", "eyJ",
    "eyJaaaaaaaa.", "ZXlK", "?a=", "?", "&token", ";", "a=b&", "\t", "\n", "a@", "a:", "a:b@", "a ", ".", "key'",
    "token is ", "/token/", "x" * 70 + "=", "\ue000", "\ue0000\ue001", "\xff", "a.b", "-", "0", "1,", '["a",',
)  # fmt: skip


@pytest.mark.parametrize("unit", HOSTILE, ids=repr)
def test_a_hostile_value_of_256_kib_is_done_with(unit: str) -> None:
    value = (unit * (1 << 18))[: 1 << 18]
    latin = value.encode("latin-1", "replace").decode("latin-1")
    with not_for_ever():
        redact(Unredacted(seen(("X-Any", latin), ("Cookie", latin[:5000]), body=value[:16384], reason=value[:123])))


def test_many_cookies_are_done_with_and_none_is_echoed() -> None:
    names = [f"{secrets.token_hex(8)}" for _ in range(12000)]
    cookie = "; ".join(f"c={name}" for name in names)
    with not_for_ever():
        line = written(
            seen(
                ("Cookie", cookie),
                ("Host", "h.example"),
                response=(("X-Debug", names[-1]), ("Upgrade", "websocket")),
                body=f"bad {names[-1]} {names[5000]}",
                reason=names[-1],
            )
        )
    assert names[-1] not in line
    assert names[5000] not in line
    assert "too many secrets" in line
    assert '"websocket"' in line
    assert '"h.example"' in line


def test_a_number_beyond_reason_in_html_does_no_harm() -> None:
    assert S not in written(seen(("X-Api-Key", S), body=f"&#{'9' * 5000}; &#x{'f' * 5000}; {S}"))


@settings(max_examples=150)
@given(
    st.lists(st.sampled_from([*HOSTILE, S, quote("a=b", safe=""), "Bearer", "HTTP/1.1", "eyJhbGciOiJIUzI1NiJ9.e30.x"])),
    st.text(max_size=20),
)
def test_any_text_is_redacted_without_an_error(parts: list[str], text: str) -> None:
    value = "".join([*parts, text, *parts])
    latin = value.encode("latin-1", "replace").decode("latin-1")
    headers = [(name, latin) for name in ("Cookie", "Set-Cookie", "X-Key", "Sec-WebSocket-Protocol", "X-Any", latin)]
    redact(Unredacted(seen(*headers, line=latin, response=tuple(headers), status=latin, body=value, reason=value)))


@given(st.text("ab 019\ue000\ue001", max_size=60))
def test_marks_of_our_own_cannot_be_forged(text: str) -> None:
    forged = f"\ue0000\ue001{text}\ue00099\ue001"
    clean = redact(Unredacted(seen(("X-Api-Key", S), body=forged, reason=forged)))
    assert clean.response is not None
    assert clean.response.body is not None
    assert "withheld 16" not in (clean.response.body.text or "")
    assert "\ue000" not in str(clean)


def test_lone_surrogates_do_no_harm() -> None:
    redact_text("token=\ud800abc password=\udc80x")
