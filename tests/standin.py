"""`wsprobe origin` as a process, and the tokens that it is shown."""

import base64
import contextlib
import hashlib
import hmac
import http.server
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from wsprobe.cli import main
from wsprobe.model import Observation
from wsprobe.recordfile import read

SECRET = "a-secret-for-tests-that-is-long-enough-for-hmac"
AUDIENCE, ISSUER = "https://app.example.test", "https://login.example.test"

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


@cache
def rsa_key(name: str = "first") -> rsa.RSAPrivateKey:
    """One key per name and test run."""
    assert name
    return rsa.generate_private_key(65537, 2048)


@cache
def ec_key() -> ec.EllipticCurvePrivateKey:
    """A key on P-256."""
    return ec.generate_private_key(ec.SECP256R1())


def public_pem(key: PrivateKey) -> str:
    """What a server is given of a key."""
    encoding, form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(encoding, form).decode()


def jwk(key: PrivateKey, kid: str, **more: str) -> dict[str, Any]:
    """A member of a key set."""
    public = key.public_key()
    if isinstance(public, rsa.RSAPublicKey):
        found = jwt.algorithms.RSAAlgorithm.to_jwk(public, as_dict=True)
    else:
        found = jwt.algorithms.ECAlgorithm.to_jwk(public, as_dict=True)
    return {**found, "kid": kid, **more}


def token(key: str | PrivateKey = SECRET, alg: str = "HS256", kid: str | None = None, **claims: object) -> str:
    """A signed token that is valid for an hour, with these claims."""
    content = {"exp": int(time.time()) + 3600, "sub": "somebody", **claims}
    with warnings.catch_warnings(action="ignore"):  # of a short secret
        return jwt.encode(content, key, algorithm=alg, headers={"kid": kid} if kid else None)


def forged(head: dict[str, object], claims: dict[str, object], secret: bytes | None = None) -> str:
    """A token that no library would make, signed with HMAC or not at all."""
    first = b".".join(_coded(json.dumps(part).encode()) for part in (head, claims))
    signature = hmac.new(secret, first, hashlib.sha256).digest() if secret is not None else b""
    return b".".join((first, _coded(signature))).decode()


def _coded(octets: bytes) -> bytes:
    return base64.urlsafe_b64encode(octets).rstrip(b"=")


@dataclass
class StandIn:
    """A running `wsprobe origin`; `log` is what it told on stderr so far, `status` how it exited."""

    process: subprocess.Popen[bytes]
    records: Path
    log: list[dict[str, Any]] = field(default_factory=list)
    raw_log: bytes = b""
    address: str = ""
    status: int | None = None

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])

    def leave(self, number: int = signal.SIGTERM) -> None:
        """Tells it to leave and waits until it has."""
        self.process.send_signal(number)
        self.status = self.process.wait(20)

    def seen(self) -> list[Observation]:
        """The last line of each exchange in its records file."""
        return list(read([self.records]).observations)

    def wait_for(self, number: int) -> list[Observation]:
        """Its observations, once there are so many that ended."""
        deadline = time.monotonic() + 10
        while len(found := [seen for seen in self.seen() if seen.ended is not None]) < number:
            assert time.monotonic() < deadline, f"{len(found)} of {number} exchanges ended: {found}"
            time.sleep(0.02)
        return found

    def listen(self) -> None:
        """Reads the log up to the line that tells the address, and the rest in the background."""
        assert self.process.stderr
        for line in self.process.stderr:
            self._keep(line)
            if self.log and self.log[-1].get("event") == "listening":
                self.address = self.log[-1]["at"]
                threading.Thread(target=self._drain, daemon=True).start()
                return
        raise AssertionError(f"it did not listen: {self.raw_log.decode()}")

    def _drain(self) -> None:
        with contextlib.suppress(ValueError):  # the pipe was closed with the process
            for line in self.process.stderr or ():
                self._keep(line)

    def _keep(self, line: bytes) -> None:
        self.raw_log += line
        with contextlib.suppress(ValueError):
            self.log.append(json.loads(line))


def command(*arguments: str) -> list[str]:
    """The command line of one run."""
    return [sys.executable, "-m", "wsprobe", *arguments]


@contextlib.contextmanager
def stand_in(folder: Path, *arguments: str, env: dict[str, str] | None = None) -> Iterator[StandIn]:
    """`wsprobe origin` on a free port, recording into a folder, until the block ends."""
    records = folder / f"origin-{time.monotonic_ns()}.jsonl"
    words = command("origin", "--listen", "127.0.0.1:0", "-o", str(records), *arguments)
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ | (env or {})
    ) as process:
        running = StandIn(process, records)
        try:
            running.listen()
            yield running
        finally:
            if process.poll() is None:
                running.leave()


def run(arguments: Sequence[str], *, env: dict[str, str] | None = None, stdin: bytes = b"") -> tuple[int, str, str]:
    """Runs a command to its end, in this process: status, stdout, stderr."""
    out, err = io.StringIO(), io.StringIO()
    with (
        mock.patch.dict(os.environ, env or {}),
        mock.patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin))),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        status = main(arguments)
    return status, out.getvalue(), err.getvalue()


@contextlib.contextmanager
def published(document: bytes, status: int = 200) -> Iterator[tuple[str, list[bytes], list[str]]]:
    """Serves a document over HTTP: its URL, the document in a list of one to be replaced, the paths asked for."""
    documents, asked = [document], []

    class Answers(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            self.end_headers()
            with contextlib.suppress(OSError):  # the reader has had enough
                self.wfile.write(documents[0])

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/keys", documents, asked
        server.shutdown()
