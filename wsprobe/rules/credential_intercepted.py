"""Something read the credentials on the upgrade, and the application is not shown to have received them.

A broken token was refused, so the token is validated somewhere; but with a good one and with none the connection came
to the same end. A proxy or filter that validates a token may consume it (IAP, Istio's RequestAuthentication, Envoy's
jwt_authn without `forward`), and lets requests without one pass to an application that then fails.

Bad:
    with the token: 101, then 1011; without it: 101, then 1011; with a broken one: 401
Good:
    jwt_authn with `forward: true`: the application gets the token that was validated
"""

from collections.abc import Iterator

from wsprobe.judging import Rule, credentials_compared, observe_beyond
from wsprobe.model import Confidence, Finding, Place
from wsprobe.trials import Elimination, in_words

RULE = Rule(__name__, needs=credentials_compared, rank=33)


def check(found: Elimination) -> Iterator[Finding]:
    """One finding where a broken token alone makes a difference."""
    if found.none is None or found.broken is None or found.differs(found.none) or not found.differs(found.broken):
        return
    path = found.path
    yield RULE.finding(
        f"Seen from {found.good.name}, a broken token came to another result ({in_words(found.broken)}) than the good "
        f"one and none at all, which both came to this: {in_words(found.good)}. Something validated the token and may "
        "have consumed it; the application is not shown to have received it.",
        Place(hop=found.good.name, part="upgrade with credentials", shows=in_words(found.good)),
        Place(hop=found.good.name, part="upgrade without", shows=in_words(found.none)),
        Place(hop=found.good.name, part="upgrade with a broken token", shows=in_words(found.broken)),
        confidence=Confidence.POSSIBLE,
        segment=(path.outermost.name, None),
        fix="Where a proxy or filter validates tokens on the way, have it forward the token (Envoy jwt_authn: forward: "
        "true; Istio: forwardOriginalToken: true), and keep it validating.",
        others=("the application itself refuses broken tokens, and fails with a good one as it does without any",),
        untested=("what arrived at the application",),
        next_=observe_beyond(path, path.hops[-1]),
    )
