"""A route that writes one header edit of its own loses all that stand around it.

In nginx, proxy_set_header of an outer level applies only where the inner level has none (ngx_http_proxy_module). One
`proxy_set_header X-Extra 1` in a location is enough, and Upgrade, Connection and Host of the server are gone there.

Bad (nginx):
    server {
        listen 80;
        proxy_http_version 1.1;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection "upgrade";
        location /ws {
            proxy_pass http://127.0.0.1:9000;
            proxy_set_header X-Real-IP $remote_addr;
        }
    }
Good (nginx):
    server {
        listen 80;
        proxy_http_version 1.1;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection "upgrade";
        proxy_set_header X-Real-IP $remote_addr;
        location /ws {
            proxy_pass http://127.0.0.1:9000;
        }
    }
"""

from collections.abc import Iterator

from wsprobe.inspection import ConfigFinding, Handling
from wsprobe.lb.model import Lost, Named
from wsprobe.parts import Severity
from wsprobe.patterns import lazy
from wsprobe.rules.config import ConfigRule, Intent, Level, Passage
from wsprobe.rules.config._made import listed
from wsprobe.rules.config._pages import NGINX_PROXY

RULE = ConfigRule(__name__, {"nginx": f"{NGINX_PROXY}#proxy_set_header"})

_UPGRADE = frozenset({"upgrade", "connection"})
_MATTERS = frozenset({"host", "authorization", "origin", "cookie"})
_MOST_NAMED = 6
_LINE = lazy(r"\w+_set_header [^;`]*;")


def check(passage: Passage, intent: Intent) -> Iterator[ConfigFinding]:
    """One for each route that loses edits which it does not write itself."""
    lost = [lost for lost in passage.route.lost if _names(lost) - _again(passage)]
    if not lost or intent.level < Level.LIKELY:
        return
    names = list(dict.fromkeys(name for each in lost for name in getattr(each.edit.which, "names", ())))
    more = [f"{len(names) - _MOST_NAMED} more"] if names[_MOST_NAMED:] else []
    told = listed([*names[:_MOST_NAMED], *more])
    lowered = {name.lower() for name in names}
    broken = bool(lowered & _UPGRADE) and (
        passage.handling is Handling.DROPPED
        or not any("upgrade" in v.lower() for v in passage.arrived("Connection") or ())
    )
    grave = Severity.ERROR if broken else Severity.WARNING
    yield RULE.finding(
        passage,
        f"{told} {'is' if len(names) == 1 else 'are'} set around this route and not here: its own lines replace all"
        + (", so an upgrade is not passed on." if broken else "."),
        severity=grave,
        place=lost[0].by,
        related=[each.edit.place for each in lost],
        header=next((name for name in names if name.lower() in _UPGRADE | _MATTERS), None),
        fix=_fix(lost),
    )


def _fix(lost: list[Lost]) -> str:
    """The lines to write, where each stands alone on its own."""
    lines = dict.fromkeys(each.edit.place.text for each in lost if each.edit.place)
    if len(lines) > _MOST_NAMED or not all(_LINE.fullmatch(line) for line in lines):
        return "Repeat the lines from around it here, or move the lines from here to there."
    return f"Write here too: {' '.join(f'`{line}`' for line in lines)}."


def _names(lost: Lost) -> set[str]:
    return {name.lower() for name in lost.edit.which.names} if isinstance(lost.edit.which, Named) else set()


def _again(passage: Passage) -> set[str]:
    """The headers that the route sets itself."""
    named = (edit.which.names for edit in passage.edits if edit.place and isinstance(edit.which, Named))
    return {name.lower() for names in named for name in names}
