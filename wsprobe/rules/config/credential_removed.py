"""A line takes the credential out of the upgrade before the upstream is asked.

The upstream sees an upgrade without Authorization (or Cookie): it answers 401, or accepts and closes at once, often
with 1011. Plain HTTP may work all the same, on a route or under a condition of its own.

Bad (nginx):
    location /ws {
        proxy_pass http://127.0.0.1:9000;
        proxy_http_version 1.1;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection "upgrade";
        proxy_set_header Authorization "";
    }
Good (nginx):
    location /ws {
        proxy_pass http://127.0.0.1:9000;
        proxy_http_version 1.1;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection "upgrade";
    }
Bad (haproxy):
    defaults
      mode http
    frontend fe
      bind :8080
      http-request del-header Authorization
      default_backend be
    backend be
      server s1 127.0.0.1:9000
Good (haproxy):
    defaults
      mode http
    frontend fe
      bind :8080
      acl ws hdr(Upgrade) -i websocket
      http-request del-header Authorization unless ws
      default_backend be
    backend be
      server s1 127.0.0.1:9000
Bad (caddy):
    :8080 {
        reverse_proxy 127.0.0.1:9000 {
            header_up -Authorization
        }
    }
Good (caddy):
    :8080 {
        reverse_proxy 127.0.0.1:9000
    }
Bad (apache):
    <VirtualHost *:80>
    ProxyPass /ws ws://127.0.0.1:9000/ws
    RequestHeader unset Authorization
    </VirtualHost>
Good (apache):
    <VirtualHost *:80>
    ProxyPass /ws ws://127.0.0.1:9000/ws
    </VirtualHost>
"""

from collections.abc import Iterator

from wsprobe.inspection import Change, ConfigFinding, HeaderEdit
from wsprobe.lb.model import Edit, Every, Nominated, Op
from wsprobe.parts import Severity
from wsprobe.rules.config import ConfigRule, Intent, Level, Passage
from wsprobe.rules.config._credentials import elsewhere, kept, severity, told_as_consumed
from wsprobe.rules.config._pages import REQUEST_HEADERS
from wsprobe.rules.config._passage import credentials

RULE = ConfigRule(__name__, REQUEST_HEADERS)


def check(passage: Passage, intent: Intent) -> Iterator[ConfigFinding]:
    """One for each credential that a line removes, or may remove."""
    if intent.level is Level.NOT:
        return
    for name in credentials(passage):
        by = passage.lost_by(name)
        edit = passage.cause(by) if by else None
        doubt = passage.doubt(name)
        if told_as_consumed(passage, name, by.place if by else doubt.place if doubt else None):
            continue
        if by and by.place and not (edit and isinstance(edit.which, Every | Nominated)):
            yield _removed(passage, intent, name, by, edit)
        elif doubt and doubt.place:
            yield from _maybe(passage, intent, name)


def _removed(passage: Passage, intent: Intent, name: str, by: HeaderEdit, edit: Edit | None) -> ConfigFinding:
    made_from = elsewhere(passage, edit, name)
    moved = by.after if by.kind is Change.RENAMED else _moved(passage, name)
    if made_from:
        said = f"{name} is made from the {made_from}; a client that sends {name} itself loses it."
    elif moved:
        said = f"{name} goes on as {moved}: the upstream gets no {name}."
    else:
        said = f"{name} is removed before the upstream is asked."
    return RULE.finding(
        passage,
        said,
        severity=Severity.NOTE if made_from else severity(intent, name),
        place=by.place,
        related=[passage.where],
        header=name,
        fix=kept(passage.config.kind, name, by.place),
    )


def _moved(passage: Passage, name: str) -> str | None:
    """Another header that the value goes on in."""
    request, sent = passage.prediction.request, passage.sent(name)
    headers = request.headers if request else ()
    return next((key for key, value in headers if key.lower() != name.lower() and any(s in value for s in sent)), None)


def _maybe(passage: Passage, intent: Intent, name: str) -> Iterator[ConfigFinding]:
    """A removal under a condition that cannot be decided from the config."""
    doubt = passage.doubt(name)
    edits = [edit for edit in passage.written(name) if doubt and edit.place == doubt.place]
    if doubt and edits and (edits[-1].op is Op.REMOVE):
        yield RULE.finding(
            passage,
            f"{name} may be removed before the upstream is asked; the config does not decide it: {doubt.why}.",
            severity=Severity.WARNING if severity(intent, name) is Severity.ERROR else Severity.NOTE,
            place=doubt.place,
            header=name,
            fix=kept(passage.config.kind, name, doubt.place),
        )
