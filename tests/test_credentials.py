"""Which values are credentials, which may be guessed, and what a token says of itself."""

import base64
import json
import secrets
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsprobe.credentials import (
    guessable,
    is_secret_name,
    looks_opaque,
    read_jwt,
    secret_subprotocols,
    short_signature,
    split_scheme,
    truncated,
)
from wsprobe.model import Jwt


def b64url(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).decode().rstrip("=")


def token(claims: object, header: object = None, signature: bytes = b"") -> str:
    """A JSON Web Token that nobody signed."""
    head = {"alg": "HS256", "typ": "JWT"} if header is None else header
    signed = signature or secrets.token_bytes(32)
    return ".".join(map(b64url, (json.dumps(head).encode(), json.dumps(claims).encode(), signed)))


SECRET_NAMES = (
    "Authorization proxy-authorization Cookie Set-Cookie X-Api-Key apikey api_key access_token id_token Token X-Auth "
    "X-Forwarded-Authorization X-Serverless-Authorization X-Goog-IAP-JWT-Assertion X-Goog-Authenticated-User-Email "
    "X-Amzn-Oidc-Data X-Amzn-Oidc-Identity X-Amzn-Oidc-Accesstoken X-Amz-Security-Token X-Amz-Credential "
    "X-Amz-Signature X-MS-CLIENT-PRINCIPAL X-MS-TOKEN-AAD-ACCESS-TOKEN Cf-Access-Jwt-Assertion "
    "Cf-Access-Authenticated-User-Email X-Auth-Request-User X-Forwarded-User X-Forwarded-Email X-ARR-ClientCert "
    "X-Forwarded-Client-Cert Client-Cert X-Amzn-Mtls-Clientcert X-CSRF-Token csrf xsrf X-Vault-Token X-Hub-Signature "
    "session sessionid PHPSESSID JSESSIONID connect.sid sid sig passwd password pwd user_pw userpass secret "
    "client_secret ticket code bearer SAMLResponse otp x-hmac key sec-websocket-key1 remote-user x-userinfo"
)
OTHER_NAMES = (
    "Sec-WebSocket-Key sec-websocket-accept WWW-Authenticate Proxy-Authenticate Authentication-Info "
    "Proxy-Authentication-Info User-Agent Host Origin X-Forwarded-For X-Forwarded-Proto X-Request-Id traceparent "
    "Access-Control-Allow-Credentials Content-Length Keep-Alive Sec-WebSocket-Version room page lang encode status "
    "Sec-WebSocket-Extensions"
)


@pytest.mark.parametrize("name", SECRET_NAMES.split())
def test_a_name_of_something_secret(name: str) -> None:
    assert is_secret_name(name)
    assert is_secret_name(name.upper())


@pytest.mark.parametrize("name", OTHER_NAMES.split())
def test_a_name_of_nothing_secret(name: str) -> None:
    assert not is_secret_name(name)
    assert not is_secret_name(name.lower())


def test_a_secret_name_is_found_at_any_length() -> None:
    assert is_secret_name("x" * 200 + "-token")


@pytest.mark.parametrize(
    ("value", "scheme", "rest"),
    [
        ("Bearer abc", "Bearer", "abc"),
        ("bearer   abc", "bearer", "abc"),
        ("Digest username=x, response=y", "Digest", "username=x, response=y"),
        ("Unheard abc", None, "Unheard abc"),
        ("abc", None, "abc"),
        ("Bearer", None, "Bearer"),
        ("Bearer\tabc", None, "Bearer\tabc"),
    ],
)
def test_a_scheme_is_told_only_where_it_is_a_known_one(value: str, scheme: str | None, rest: str) -> None:
    assert split_scheme(value) == (scheme, rest)


JWT = token({"sub": "alice"})


@pytest.mark.parametrize(
    ("offered", "shown"),
    [
        pytest.param("graphql-transport-ws", "graphql-transport-ws", id="a name with dashes"),
        pytest.param("v4.channel.k8s.io, mqtt", "v4.channel.k8s.io, mqtt", id="names with dots and digits"),
        pytest.param(
            "actioncable-v1-json, ocpp1.6, ocpp2.0.1, wamp.2.json, wamp.2.msgpack.batched, v12.stomp, sip, xmpp",
            "actioncable-v1-json, ocpp1.6, ocpp2.0.1, wamp.2.json, wamp.2.msgpack.batched, v12.stomp, sip, xmpp",
            id="registered names",
        ),
        pytest.param(
            "v1.kernel.websocket.jupyter.org, protobuf.reliable.webpubsub.azure.v1",
            "v1.kernel.websocket.jupyter.org, protobuf.reliable.webpubsub.azure.v1",
            id="long names",
        ),
        pytest.param(JWT, "-", id="a JSON Web Token"),
        pytest.param(f"jwt.{JWT}", "jwt.-", id="a JSON Web Token behind a prefix"),
        pytest.param("chat, bearer, swordfish", "chat, bearer, -", id="what follows a marker, whatever it looks like"),
        pytest.param("Authorization, bearer, hunter", "Authorization, -, -", id="a marker behind a marker"),
        pytest.param("access_token, swordfish, chat", "access_token, -, chat", id="only the next one is marked"),
        pytest.param("bearer.swordfish", "bearer.-", id="a marker as prefix"),
        pytest.param("token-swordfish", "token-", id="a marker with a dash"),
        pytest.param("my.app.bearer.Zq7xP2mN9vKt", "my.app.bearer.-", id="a longer prefix that ends in a marker"),
        pytest.param(
            "base64url.bearer.authorization.k8s.io.swordfish",
            "base64url.bearer.authorization.k8s.io.-",
            id="as Kubernetes does it",
        ),
        pytest.param(
            "base64url.bearer.authorization.k8s.io.a.b.swordfish",
            "base64url.bearer.authorization.k8s.io.-",
            id="as Kubernetes does it, with a token that has dots",
        ),
        pytest.param(
            "Base64URL.Bearer.Authorization.K8s.io.swordfish",
            "Base64URL.Bearer.Authorization.K8s.io.-",
            id="as Kubernetes does it, in another case",
        ),
        pytest.param("Zq7xP2mN9vKt4LbR", "-", id="what no protocol is called"),
        pytest.param("x" * 65, "-", id="too long for a name"),
    ],
)
def test_of_the_subprotocols_the_names_are_shown_and_the_tokens_are_not(offered: str, shown: str) -> None:
    found = secret_subprotocols(offered.split(", "))
    assert "".join(head + tail for head, tail in found) == offered.replace(", ", "")
    expected = [element.rstrip("-") if element.endswith("-") else element for element in shown.split(", ")]
    assert [head.rstrip("-") for head, _ in found] == expected
    assert [bool(tail) for _, tail in found] == [element.endswith("-") for element in shown.split(", ")]


def test_a_part_of_a_path_looks_opaque_or_like_a_name() -> None:
    assert all(map(looks_opaque, ["Zq7xP2mN9vKt4LbR", "8f14e45fceea167a", "abcDefGhiJklMno"]))
    assert not any(map(looks_opaque, ["refresh", "v1", "user-settings", "2026"]))


# Guessing. The fingerprint's key stands in the record: what can be guessed from it must have none.


@given(st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=15))
def test_text_that_was_encoded_is_as_guessable_as_before(password: str) -> None:
    password = f"alice:{password}"
    assert guessable(password)
    assert guessable(base64.b64encode(password.encode()).decode())
    assert guessable(b64url(password.encode()))
    assert guessable(password.encode().hex())


@pytest.mark.parametrize(
    "value",
    [
        "",
        "hunter2",
        "Zq7xP2mN9vKt4LbR",
        "a" * 64,
        "0" * 32,
        "0123456789" * 4,
        "correct-horse-battery-staple",
        "GA1.2.1234567890.1700000000",
        "2026-11-23T23:50:13.123456Z",
        "Password123Password123Password123",
        str(uuid.UUID("12345678-1234-5678-1234-567812345678")),
        "ca7a9de8-e7a4-11f1-8778-02fc00000001",
        "08ea313c-4df6-4b3b-a57f-ad587b56737f",
        token({"sub": "alice"}).rpartition(".")[0],
        token({"sub": "alice"}).rpartition(".")[0] + ".",
        token({"sub": "alice"}, signature=b"0" * 32),
        base64.b64encode(b'{"user":"alice","role":"admin"}').decode(),
        # Twice: a text of a text.
        base64.b64encode(base64.b64encode(b'{"user":"alice","role":"admin"}')).decode(),
    ],
)
def test_what_may_be_guessed_counts_as_guessable(value: str) -> None:
    assert guessable(value)


def test_what_was_drawn_at_random_is_not_guessable() -> None:
    drawn = [
        *(secrets.token_hex(32) for _ in range(50)),
        *(b64url(secrets.token_bytes(48)) for _ in range(50)),
        *(token({"sub": "alice"}) for _ in range(50)),
        *(b64url(token({"sub": "alice"}).encode()) for _ in range(10)),
    ]
    assert sum(map(guessable, drawn)) <= 2, "chance may look like words once in a while, and not more often"


# What a token says.


def test_a_token_tells_what_verification_depends_on_and_other_claims_by_name_only() -> None:
    claims = {
        "iss": "https://id.example",
        "aud": ["chat", "api"],
        "exp": 2000000000,
        "nbf": 1.5,
        "iat": True,
        "scope": "read write",
        "email": "alice@example.com",
    }
    assert read_jwt(token(claims, {"alg": "RS256", "typ": "JWT", "kid": "k1"})) == Jwt(
        alg="RS256",
        typ="JWT",
        kid="k1",
        iss="https://id.example",
        aud=("chat", "api"),
        exp=2000000000.0,
        nbf=1.5,
        scope=("read", "write"),
        claims=("iss", "aud", "exp", "nbf", "iat", "scope", "email"),
    )


@pytest.mark.parametrize(
    ("text", "jwt"),
    [
        pytest.param("eyJ", None, id="no token"),
        pytest.param("", None, id="nothing"),
        pytest.param(b64url(b"[1]"), None, id="a header that is no object"),
        pytest.param(b64url(b'{"alg":5}'), None, id="an algorithm that is no text"),
        pytest.param(b64url(b'{"alg":"HS256"}'), Jwt(alg="HS256"), id="only a header"),
        pytest.param(b64url(b'{"alg":"HS256"}') + ".!!!.x", Jwt(alg="HS256"), id="claims that are no JSON"),
        pytest.param(token("x"), Jwt(alg="HS256", typ="JWT"), id="claims that are no object"),
        pytest.param(
            token({"exp": 1e300, "nbf": "x", "iat": None, "aud": 5, "scope": {"a": 1}, "iss": ["x"]}),
            Jwt(alg="HS256", typ="JWT", claims=("exp", "nbf", "iat", "aud", "scope", "iss")),
            id="claims of the wrong type or beyond reason are not told",
        ),
        pytest.param(
            token({"scp": ["a", 5, "b"]}), Jwt(alg="HS256", typ="JWT", scope=("a", "b"), claims=("scp",)), id="scp"
        ),
        pytest.param("eyJ" + "W1tb" * 50000, None, id="nested on purpose"),
        pytest.param(b64url(b'{"alg":"HS256","x":' + b"[" * 200000), None, id="nested too deeply"),
        pytest.param(b64url(b'{"alg":"HS256","exp":NaN}'), Jwt(alg="HS256"), id="NaN is no time"),
    ],
)
def test_what_a_token_says_is_read_as_far_as_it_goes(text: str, jwt: Jwt | None) -> None:
    assert read_jwt(text) == jwt


def test_nan_and_endless_times_are_not_told() -> None:
    header, claims = b64url(b'{"alg":"HS256"}'), b64url(b'{"exp":NaN,"nbf":Infinity,"iat":-Infinity}')
    jwt = read_jwt(f"{header}.{claims}.x")
    assert jwt is not None
    assert (jwt.exp, jwt.nbf, jwt.iat) == (None, None, None)


def test_what_a_token_says_is_bounded() -> None:
    jwt = read_jwt(token({"iss": "x" * 10000, "aud": ["y" * 10000] * 100, **{f"claim{n}": 1 for n in range(100)}}))
    assert jwt is not None
    assert jwt.iss == "x" * 200
    assert jwt.aud == ("y" * 200,) * 32
    assert len(jwt.claims) == 32


@given(st.text(max_size=200))
def test_any_text_can_be_read_as_a_token(text: str) -> None:
    read_jwt(text)
    read_jwt("eyJ" + text)
    guessable(text)
    is_secret_name(text)
    secret_subprotocols([text])


@pytest.mark.parametrize(
    ("parts", "alg", "cut", "short"),
    [
        pytest.param((36, 74, 43), "HS256", False, None, id="whole"),
        pytest.param((36, 74), "HS256", True, None, id="two parts"),
        pytest.param((36, 74, 0), "HS256", True, 43, id="no signature"),
        pytest.param((36, 73, 43), "HS256", True, None, id="a length that base64 cannot have"),
        pytest.param((36, 74, 40), "HS256", False, 43, id="a signature that is too short"),
        pytest.param((36, 74, 300), "RS256", False, 342, id="a signature that is too short for RSA"),
        pytest.param((36, 74, 683), "RS256", False, None, id="RSA with 4096 bits"),
        pytest.param((36, 74, 7), "XY999", False, None, id="an algorithm that is not known"),
        pytest.param((36, 74, 7), None, False, None, id="no algorithm"),
    ],
)
def test_a_token_that_was_cut_off_is_recognised(
    parts: tuple[int, ...], alg: str | None, *, cut: bool, short: int | None
) -> None:
    assert truncated(parts) is cut
    assert short_signature(parts, alg) == short
