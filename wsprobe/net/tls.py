"""TLS contexts of what listens and of what dials, and what came of a handshake, in words."""

import ssl
from pathlib import Path
from typing import NoReturn

from wsprobe.model import Certificate, Tls

ALPN = ["http/1.1"]
"""What is offered and taken (RFC 7301): over HTTP/2 an upgrade is another protocol (RFC 8441)."""

_WORDS = {
    "WRONG_VERSION_NUMBER": "what answers does not speak TLS",
    "UNEXPECTED_EOF_WHILE_READING": "the connection was closed during the handshake",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "the server wants a client certificate",
}
_WHY_UNVERIFIED = {  # by OpenSSL's X509_V_ERR_…
    9: "it is not valid yet",
    10: "it has expired",
    18: "it is self-signed, and not trusted",
    19: "unknown authority: the root of its chain is self-signed, and not trusted",
    20: "unknown authority: its issuer is not trusted, or the server left an intermediate certificate out",
    21: "unknown authority: its issuer is not trusted, or the server left an intermediate certificate out",
    62: "it is for another host than this",
    64: "it is for another host than this address",
}


class AcceptedObject(ssl.SSLObject):
    """The server's side of a TLS connection, which also knows the name that the client asked for."""

    sni: str | None = None


def terminating(certificate: Path, key: Path | None) -> ssl.SSLContext:
    """A server's context from PEM files; the key may stand in the certificate's file.

    OSError where a file cannot be read, ValueError in one line where it does not hold what it should.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _load(context, certificate, key)
    context.set_alpn_protocols(ALPN)
    context.sslobject_class = AcceptedObject
    context.sni_callback = _note_sni
    return context


def _load(context: ssl.SSLContext, certificate: Path, key: Path | None) -> None:
    for file in filter(None, (certificate, key)):
        file.open("rb").close()  # OpenSSL would not say which of the two is missing
    try:
        context.load_cert_chain(certificate, key, password=_no_passphrase)
    except ssl.SSLError as error:
        what = f"{certificate} and {key}" if key else f"{certificate} (without --key it must hold the key too)"
        wrong = "the key is not the certificate's" if error.reason == "KEY_VALUES_MISMATCH" else "no PEM of both"
        raise ValueError(f"{what}: {wrong}") from None


def _no_passphrase() -> NoReturn:
    """OpenSSL would ask on the terminal, in the middle of a start by a supervisor."""
    raise ValueError("the key has a passphrase: give it without one, in a file that only you can read")


def _note_sni(accepted: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
    if isinstance(accepted, AcceptedObject):
        accepted.sni = name


def dialling(
    authorities: Path | None, *, verify: bool, certificate: Path | None = None, key: Path | None = None
) -> ssl.SSLContext:
    """A client's context; `authorities` is a PEM file to trust instead of the system's.

    With `certificate` (and `key`, unless that stands in the same file) the client shows who it is. OSError where a
    file cannot be read, ValueError in one line where it does not hold what it should.
    """
    if authorities:
        authorities.open("rb").close()  # OpenSSL's error would not name the file
    try:
        context = ssl.create_default_context(cafile=authorities)
    except ssl.SSLError:
        raise ValueError(f"{authorities}: no certificate in PEM") from None
    # Python 3.13 demands more of a certificate than OpenSSL, curl and browsers do: it would be refused here alone.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if certificate:
        _load(context, certificate, key)
    context.set_alpn_protocols(ALPN)
    return context


def negotiated(
    connection: ssl.SSLObject,
    *,
    sni: str | None,
    verified: bool | None = None,
    error: str | None = None,
    certificates: tuple[Certificate, ...] = (),
) -> Tls:
    """What a handshake agreed on."""
    cipher = connection.cipher()
    return Tls(
        version=connection.version(),
        cipher=cipher[0] if cipher else None,
        alpn=connection.selected_alpn_protocol(),
        sni=sni,
        verified=verified,
        error=error,
        certificates=certificates,
    )


def reason(error: BaseException) -> str:
    """Why a handshake failed, in words: OpenSSL's, without its numbers."""
    if isinstance(error, ssl.SSLCertVerificationError):
        why = _WHY_UNVERIFIED.get(error.verify_code, error.verify_message)
        return f"the certificate does not verify: {why}"
    if isinstance(error, ssl.SSLError) and error.reason:
        return _WORDS.get(error.reason, error.reason.replace("_", " ").lower())
    if isinstance(error, ConnectionResetError | ConnectionAbortedError | BrokenPipeError):
        return _WORDS["UNEXPECTED_EOF_WHILE_READING"]
    return str(error) or type(error).__name__
