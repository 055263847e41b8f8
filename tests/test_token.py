"""`wsprobe token`, and the keys that tokens are verified with: from the environment, a file, a URL."""

import asyncio
import json
from pathlib import Path

import pytest

from tests import standin
from tests.standin import SECRET, forged, jwk, public_pem, published, rsa_key, run, token
from wsprobe.net import jwks
from wsprobe.net.jwks import KeySet
from wsprobe.net.tokens import Demands, KeySetError, Verifier

KEY = ["--jwt-key-env", "WSPROBE_TEST_KEY"]


def told(value: str, *arguments: str, key: str = SECRET) -> tuple[int, dict[str, str]]:
    """Exit status, and the lines by their first word; nothing of the token may stand in them."""
    status, out, err = run(["token", *arguments], env={"WSPROBE_TEST_KEY": key}, stdin=f"{value}\n".encode())
    assert err == ""
    for part in value.split("."):
        assert len(part) < 16 or part not in out
    lines = [line for line in out.splitlines() if line.strip()]
    return status, {line[:14].strip(): line[14:] for line in lines}


def test_what_a_token_says() -> None:
    value = token(
        kid="k1", iss="https://login.example.test", aud=["a", "b"], scope="read write", nbf=1, iat=1_700_000_000
    )
    status, lines = told(f"Authorization: Bearer {value}")
    assert status == 0
    assert lines.pop("token").startswith(f"{len(value)} characters in 3 parts: {len(value.split('.')[0])}.")
    assert " UTC: valid for 5" in lines.pop("expires")  # 59 min and some seconds
    assert lines.pop("issued").startswith("2023-11-14 22:13:20 UTC (")
    assert lines.pop("not before").startswith("1970-01-01 00:00:01 UTC (")
    assert lines == {
        "alg": "HS256",
        "typ": "JWT",
        "kid": "k1",
        "iss": "https://login.example.test",
        "aud": "a, b",
        "scope": "read, write",
        "other claims": "sub (by name only)",
        "whole": "yes, by the length of its parts",
        "verifies": "not tried: no key was given (--jwt-key-env, --jwks)",
    }


@pytest.mark.parametrize(
    ("value", "arguments", "status", "part", "words"),
    [
        (token(), KEY, 0, "verifies", "yes"),
        (token(exp=1_000_000_000), [], 1, "expires", "expired "),
        (token(exp=1_000_000_000), KEY, 1, "verifies", "no: expired"),
        (token(nbf=9_000_000_000), [], 1, "not before", ": not yet valid"),
        (token(exp=None), [], 0, "expires", "the claim exp is no time in seconds"),
        (token().replace(token().split(".")[1], ""), [], 1, "whole", "a part is empty"),
        (forged({"alg": "HS256"}, {}, b"x"), [], 0, "expires", "never: it has no exp"),
        (forged({"alg": "HS256"}, {"exp": 900_000_000_000}, b"x"), [], 0, "expires", "900000000000 s since 1970"),
        (forged({"alg": "none"}, {}), [], 1, "verifies", "alg none means no signature"),
        (token()[:-7], [], 1, "whole", "the signature has 36 characters, of HS256 it has at least 43"),
        (token().rpartition(".")[0], [], 1, "whole", "no: it has 2 of 3 parts and looks truncated"),
        (token()[:-7], KEY, 1, "verifies", "no: malformed"),
        (token("another-secret-that-is-as-long-as-the-first"), KEY, 1, "verifies", "no: signature"),
        (token(aud="b"), [*KEY, "--audience", "a"], 1, "verifies", "no: audience"),
        (token(), [*KEY, "--issuer", "a"], 1, "verifies", "no: issuer"),
        (token(), [*KEY, "--algorithms", "HS512"], 1, "verifies", "no: algorithm"),
        ("eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIn0..aaaa.bbbb.cccc", [], 0, "whole", "encrypted (RFC 7516)"),
    ],
    ids=map(str, range(17)),  # tokens differ in each worker of a parallel run, and ids must not
)
def test_what_is_wrong_with_it(value: str, arguments: list[str], status: int, part: str, words: str) -> None:
    got, lines = told(value, *arguments)
    assert words in lines[part]
    assert got == status


def test_json() -> None:
    value = token(exp=1_000_000_000)
    env = {"T": value, "WSPROBE_TEST_KEY": SECRET}
    status, out, _ = run(["token", "--env", "T", *KEY, "--format", "json"], env=env)
    document = json.loads(out)
    assert status == 1
    assert document["alg"] == "HS256"
    assert document["expired"] is True
    assert document["expires_in"] < 0
    assert document["parts"] == [len(part) for part in value.split(".")]
    assert document["verification"] == {"valid": False, "reason": "expired"}
    assert value.split(".")[1] not in out


def test_what_a_stranger_wrote_is_shown_printable() -> None:
    status, lines = told(forged({"alg": "HS256", "kid": "\x1b[31mred\nline"}, {"iss": "\x07", "\x1b]0;t": 1}, b"x"))
    assert status == 0
    assert lines["kid"] == "\ufffd[31mred line"
    assert lines["other claims"] == "\ufffd]0;t (by name only)"


@pytest.mark.parametrize(
    ("arguments", "stdin", "words"),
    [
        ([], b"", "no token on stdin"),
        ([], b"Bearer \n", "no token on stdin"),
        (["--env", "WSPROBE_NO_SUCH"], b"", "no token in the environment variable WSPROBE_NO_SUCH"),
        ([], b"opaque-planted-value", "no JSON Web Token: 20 characters that do not begin"),
        ([], token()[:40].encode() + b"\n" + token()[40:].encode(), "with white space among them"),
        ([], b"\xff\xfe\x00planted", "no JSON Web Token"),
        ([], b"e" * 70_000, "more than 65536 octets"),
        ([*KEY, "--jwks", "x"], b"", "--jwt-key-env and --jwks contradict each other"),
        (["--audience", "a"], b"", "--audience needs a key to verify with"),
        (["--jwt-key-env", "WSPROBE_NO_SUCH"], b"", "there is no such environment variable"),
        (["--jwt-key-env", "EMPTY"], b"", "--jwt-key-env EMPTY: it is empty"),
        (["--jwt-key-env", "PRIVATE"], b"", "it holds a private key: give the public one"),
        (["--jwt-key-env", "BROKEN"], b"", "it is no public key and no certificate in PEM"),
        ([*KEY, "--algorithms", "HS256,none"], b"", "none means no signature and is never accepted"),
        ([*KEY, "--algorithms", "RS1"], b"", "'RS1' is not known"),
        ([*KEY, "--algorithms", ""], b"", "no algorithm is named"),
        ([*KEY, "--algorithms", "RS256"], b"", "none of them fits the key in WSPROBE_TEST_KEY: HS256, HS384, HS512 do"),
        (["--jwt-key-env", "PUBLIC", "--algorithms", "HS256"], b"", "none of them fits the key in PUBLIC: RS256"),
        (["--jwks", "/no/such/file"], b"", "--jwks /no/such/file: No such file or directory"),
        (["--jwks", "http://user:planted@127.0.0.1:1/keys?planted"], b"", "--jwks http://127.0.0.1:1/keys: Client"),
    ],
)
def test_bad_usage_is_one_line(arguments: list[str], stdin: bytes, words: str) -> None:
    env = {
        "WSPROBE_TEST_KEY": SECRET,
        "EMPTY": " ",
        "PRIVATE": "-----BEGIN PRIVATE KEY-----\nplanted\n-----END PRIVATE KEY-----",
        "BROKEN": "-----BEGIN PUBLIC KEY-----\nplanted\n-----END PUBLIC KEY-----",
        "PUBLIC": public_pem(rsa_key()),
    }
    status, out, err = run(["token", *arguments], env=env, stdin=stdin)
    assert (status, out) == (2, "")
    assert words in err
    assert err.count("\n") == 1
    assert "planted" not in err


# Key sets.


def key_set(*members: object) -> bytes:
    return json.dumps({"keys": members}).encode()


@pytest.mark.parametrize(
    ("value", "arguments", "verdict"),
    [
        (token(rsa_key(), "RS512", "r1"), [], "yes"),
        (token(standin.ec_key(), "ES256", "e1"), [], "yes"),
        (token(rsa_key(), "RS256"), [], "yes"),  # without a key id all keys are tried
        (token(rsa_key("second"), "RS256", "r1"), [], "no: signature"),
        (token(rsa_key(), "RS256", "unknown"), [], "no: signature"),
        (token(standin.ec_key(), "ES256", "r1"), [], "no: algorithm"),
        (token(rsa_key("third"), "RS256", "only-rs512"), [], "no: algorithm"),
        (token(rsa_key("third"), "RS512", "only-rs512"), [], "yes"),
        (token(SECRET, "HS256", "secret"), [], "no: algorithm"),  # an HMAC key only where HMAC is asked for
        (token(SECRET, "HS256", "secret"), ["--algorithms", "HS256"], "yes"),
    ],
)
def test_key_set_from_a_file(tmp_path: Path, value: str, arguments: list[str], verdict: str) -> None:
    octets = {"kty": "oct", "kid": "secret", "k": "YS1zZWNyZXQtZm9yLXRlc3RzLXRoYXQtaXMtbG9uZy1lbm91Z2gtZm9yLWhtYWM"}
    file = tmp_path / "keys.json"
    file.write_bytes(
        key_set(
            None,
            {"kty": "strange"},
            {"kty": "oct"},
            jwk(rsa_key("second"), "r1", use="enc"),
            jwk(rsa_key(), "r1"),
            jwk(standin.ec_key(), "e1"),
            jwk(rsa_key("third"), "only-rs512", alg="RS512"),
            octets,
        )
    )
    status, lines = told(value, "--jwks", str(file), *arguments)
    assert lines["verifies"] == verdict
    assert status == (verdict != "yes")


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (b"not json", 'it has no list "keys"'),
        (b"[1]", 'it has no list "keys"'),
        (b'{"keys": {}}', 'it has no list "keys"'),
        (b"[" * 100_000, 'it has no list "keys"'),
        (key_set(), "none of its 0 keys is one to verify a token with"),
        (key_set({"kty": "RSA", "n": [1], "e": 7}, 5), "none of its 2 keys"),
        (b" " * (1024 * 1024 + 1), "longer than 1048576 octets"),
    ],
)
def test_key_set_that_is_none(tmp_path: Path, document: bytes, words: str) -> None:
    file = tmp_path / "keys.json"
    file.write_bytes(document)
    with pytest.raises(KeySetError, match=words):
        KeySet.loaded(str(file))
    with published(document) as (url, _, _), pytest.raises(KeySetError, match=words):
        KeySet.loaded(url)


def test_key_set_from_a_url() -> None:
    with published(key_set(jwk(rsa_key(), "r1"))) as (url, _, _):
        status, lines = told(token(rsa_key(), "RS256", "r1"), "--jwks", f"{url}?api_key=planted")
        assert (status, lines["verifies"]) == (0, "yes")
    with published(b"", status=503) as (url, _, _):
        status, _, err = run(["token", "--jwks", f"{url}?api_key=planted"])
        assert (status, err) == (2, f"wsprobe token: --jwks {url} answered 503\n")


def test_an_unknown_key_id_renews_the_set_at_most_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    async def verify(verifier: Verifier, value: str, times: int = 1) -> list[str | None]:
        return await asyncio.gather(*(verifier.fault(value) for _ in range(times)))

    with published(key_set(jwk(rsa_key(), "r1"))) as (url, documents, asked):
        verifier = Verifier(KeySet.loaded(url), Demands(algorithms=("RS256",)))
        renewed = token(rsa_key("second"), "RS256", "r2")
        documents[0] = key_set(jwk(rsa_key("second"), "r2"))
        assert asyncio.run(verify(verifier, renewed, 5)) == [None] * 5
        assert len(asked) == 2
        unknown = token(rsa_key("third"), "RS256", "r3")
        assert asyncio.run(verify(verifier, unknown, 5)) == ["signature"] * 5
        assert len(asked) == 2
        monkeypatch.setattr(jwks, "REFRESH_SECONDS", 0)
        documents[0] = b"out of order"
        assert asyncio.run(verify(verifier, unknown)) == ["signature"]
        assert asyncio.run(verify(verifier, renewed)) == [None]  # what was read before stands
        assert len(asked) == 3
