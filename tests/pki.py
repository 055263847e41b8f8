"""Certificates of all kinds, made anew for a test run."""

import datetime as dt
import ipaddress
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

_PEM = serialization.Encoding.PEM


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate with its key; `file` holds key, certificate and the rest of the chain but the root."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    file: Path

    @property
    def pem(self) -> bytes:
        """The certificate alone."""
        return self.certificate.public_bytes(_PEM)

    def server(self, *, clients: Path | None = None) -> ssl.SSLContext:
        """What a server takes; with `clients` it wants a client certificate of that authority."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.file)
        context.set_alpn_protocols(["h2", "http/1.1"])
        if clients:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(clients)
        return context


class Authority:
    """An authority whose files lie in a folder; `root` is what a client has to trust."""

    def __init__(self, folder: Path, name: str = "Test Root") -> None:
        self._folder = folder
        self._count = 0
        self._root = self._issue(name, None, ca=True)
        self.root = folder / f"{name.replace(' ', '-')}.pem"
        self.root.write_bytes(self._root.pem)

    def intermediate(self, name: str = "Test Intermediate") -> Issued:
        """An authority below the root."""
        return self._issue(name, self._root, ca=True)

    def issue(
        self,
        *names: str,
        by: Issued | None = None,
        begins: float = -1,
        lasts: float = 2,
        leave_out: bool = False,
        self_signed: bool = False,
    ) -> Issued:
        """A server's or client's certificate for hosts and addresses; times in days from now.

        `leave_out` keeps the intermediate out of the chain.
        """
        signer = None if self_signed else by or self._root
        chain = b"" if leave_out or by is None else by.pem
        return self._issue(names[0], signer, names=names, begins=begins, lasts=lasts, chain=chain)

    def _issue(  # noqa: PLR0913  see issue
        self,
        subject: str,
        signer: Issued | None,
        *,
        names: Sequence[str] = (),
        ca: bool = False,
        begins: float = -1,
        lasts: float = 2,
        chain: bytes = b"",
    ) -> Issued:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, subject)])
        begin = dt.datetime.now(dt.UTC) + dt.timedelta(days=begins)
        builder = (
            x509.CertificateBuilder(
                signer.certificate.subject if signer else name, name, key.public_key(), x509.random_serial_number()
            )
            .not_valid_before(begin)
            .not_valid_after(begin + dt.timedelta(days=lasts))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(list(map(_name, names))), critical=False)
        certificate = builder.sign(signer.key if signer else key, hashes.SHA256())
        self._count += 1
        file = self._folder / f"{self._count}-{subject.replace(' ', '-')}.pem"
        pkcs8 = serialization.PrivateFormat.PKCS8
        secret = key.private_bytes(_PEM, pkcs8, serialization.NoEncryption())
        file.write_bytes(secret + certificate.public_bytes(_PEM) + chain)
        return Issued(certificate, key, file)


def _name(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)
