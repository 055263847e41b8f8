"""The certificates that a server presents, in words that explain a refusal."""

import hashlib
import ssl

from wsprobe.model import Certificate

_MAX_CHAIN = 10
_MAX_NAMES = 50
_MAX_NAME = 512


def presented(connection: ssl.SSLObject) -> tuple[Certificate, ...]:
    """The chain as the server sent it, its own certificate first; what cannot be read is left out."""
    found = (read_certificate(der) for der in _chain(connection)[:_MAX_CHAIN])
    return tuple(certificate for certificate in found if certificate)


def _chain(connection: ssl.SSLObject) -> list[bytes]:
    if hasattr(connection, "get_unverified_chain"):
        return list(connection.get_unverified_chain())
    # Before Python 3.13 the chain is only to be had from the object below, the same in all of those versions.
    below = getattr(getattr(connection, "_sslobj", None), "get_unverified_chain", None)
    if below is not None:
        return [ssl.PEM_cert_to_DER_cert(one.public_bytes()) for one in below() or ()]
    leaf = connection.getpeercert(binary_form=True)
    return [leaf] if leaf else []


def read_certificate(der: bytes) -> Certificate | None:
    """The parts of a certificate that explain a refusal, None where it is none."""
    from cryptography import x509
    from cryptography.x509.oid import ExtensionOID

    try:
        parsed = x509.load_der_x509_certificate(der)
        subject, issuer = parsed.subject.rfc4514_string(), parsed.issuer.rfc4514_string()
        before, after = parsed.not_valid_before_utc.isoformat(), parsed.not_valid_after_utc.isoformat()
    except ValueError:  # a stranger's: what OpenSSL lets pass may still be malformed
        return None
    try:
        names = parsed.extensions.get_extension_for_oid(ExtensionOID.SUBJECT_ALTERNATIVE_NAME).value
        alternatives = tuple(str(name.value)[:_MAX_NAME] for name in names)[:_MAX_NAMES]  # type: ignore[attr-defined]
    except (x509.ExtensionNotFound, ValueError):
        alternatives = ()
    return Certificate(
        subject=subject[:_MAX_NAME],
        issuer=issuer[:_MAX_NAME],
        names=alternatives,
        not_before=before,
        not_after=after,
        sha256=hashlib.sha256(der).hexdigest(),
    )
