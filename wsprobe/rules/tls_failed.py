"""TLS could not be set up: the certificate was not accepted, or the other side does not speak TLS.

Bad:
    a certificate for app.example.com on app.internal
Good:
    a certificate that names the host, is in date, and chains to an authority that the client trusts
"""

from collections.abc import Iterator

from wsprobe.judging import Rule, hops
from wsprobe.model import Finding, Observation, Place
from wsprobe.path import Path

RULE = Rule(__name__, needs=hops, rank=2)


def check(place: tuple[Observation, Path]) -> Iterator[Finding]:
    """One finding per hop that could not set up TLS, with its server or with its client."""
    hop, _ = place
    if hop.failure is None or hop.failure.phase != "tls":
        return
    client, server = (hop.tls.client, hop.tls.server) if hop.tls else (None, None)
    outwards = client is not None and client.error is not None
    shown = server.certificates[0] if server and server.certificates else None
    presented = f" The server presented {shown.subject}, valid until {shown.not_after}." if shown else ""
    unverified = shown is not None or (server is not None and server.verified is False)
    yield RULE.finding(
        f"{hop.name} could not set up TLS: {hop.failure.message.rstrip('.')}.{presented}",
        Place(hop=hop.name, part="failure", shows=hop.failure.message),
        segment=(None, hop.name) if outwards else (hop.name, None),
        fix=_fix(hop, outwards=outwards, unverified=unverified),
    )


def _fix(hop: Observation, *, outwards: bool, unverified: bool) -> str:
    if outwards:
        return f"Let what connects to {hop.name} trust the certificate that it presents, and speak TLS to it."
    if unverified:
        return "Mend the certificate or its chain, or name the authority with --cacert."
    return (
        "See that what listens there speaks TLS on this port, in a version and with a cipher that both sides take, and "
        "whether it asks for a certificate of the client (--cert)."
    )
