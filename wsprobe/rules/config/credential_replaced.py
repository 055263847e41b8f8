"""A line puts another credential in place of the client's.

The upstream sees the proxy's own Authorization and never the client's: every user is the same one, or the token that
the application checks is not there. Right where the proxy has checked the client itself; else the upgrade fails.

Bad (nginx):
    location /ws {
        proxy_pass http://127.0.0.1:9000;
        proxy_http_version 1.1;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection "upgrade";
        proxy_set_header Authorization "Basic dXNlcjpwdw==";
    }
Good (nginx):
    location /ws {
        proxy_pass http://127.0.0.1:9000;
        proxy_http_version 1.1;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection "upgrade";
        proxy_set_header Authorization $http_authorization;
    }
"""

from collections.abc import Iterator

from wsprobe.inspection import Change, ConfigFinding
from wsprobe.lb.model import Op
from wsprobe.parts import Severity
from wsprobe.rules.config import ConfigRule, Intent, Level, Passage
from wsprobe.rules.config._credentials import elsewhere, kept, own, severity, told_as_consumed
from wsprobe.rules.config._pages import REQUEST_HEADERS

RULE = ConfigRule(__name__, REQUEST_HEADERS)

_ANOTHER = frozenset({Change.CHANGED, Change.ADDED})
"""Of a header that the client sent, one that is added is one that was removed before."""
_SETS = frozenset({Op.SET, Op.REPLACE})


def check(passage: Passage, intent: Intent) -> Iterator[ConfigFinding]:
    """One for each credential of the client that is overwritten, or that may be."""
    if intent.level is Level.NOT:
        return
    for name in ("Authorization", "Cookie", *passage.asked.headers):
        if not passage.sent(name):
            continue
        values = passage.arrived(name)
        changed = [edit for edit in passage.changes(name) if edit.place and edit.kind in _ANOTHER]
        doubt = passage.doubt(name)
        if told_as_consumed(passage, name, changed[-1].place if changed else doubt.place if doubt else None):
            continue
        if values and changed and not any(sent in value for sent in passage.sent(name) for value in values):
            cause = passage.cause(changed[-1])
            made_from = elsewhere(passage, cause, name)
            made = f" by one made from the {made_from}" if made_from else ""
            edited = cause is not None and cause.op is Op.REPLACE
            told = (
                "changed: the upstream gets another value than it sent"
                if edited
                else (f"replaced{made}: the upstream never sees the one that it sent")
            )
            yield RULE.finding(
                passage,
                f"{name} of the client is {told}.",
                severity=Severity.NOTE if made_from else Severity.WARNING if edited else severity(intent, name),
                place=changed[-1].place,
                related=[passage.where],
                header=name,
                fix=(kept if edited else own)(passage.config.kind, name, changed[-1].place),
            )
        elif doubt and doubt.place:
            edits = [edit for edit in passage.written(name) if edit.place == doubt.place and edit.op in _SETS]
            if edits:
                yield RULE.finding(
                    passage,
                    f"{name} of the client is replaced by a value that the config does not tell: {doubt.why}.",
                    severity=Severity.WARNING,
                    place=doubt.place,
                    related=[passage.where],
                    header=name,
                    fix="Make sure that the value is there on upgrades too, or delete the line.",
                )
