"""What a location does once nginx has chosen it and gone through its rewriting: access, files, and who answers."""

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from wsprobe.frozen import dataclass
from wsprobe.lb._nginx_access import SCRIPTS, Access
from wsprobe.lb._nginx_grammar import Directive
from wsprobe.lb._nginx_head import limits
from wsprobe.lb._nginx_input import NAMES as INPUT
from wsprobe.lb._nginx_input import Asked, asked_before, host, input_edits, unmoved
from wsprobe.lb._nginx_match import Place, sample
from wsprobe.lb._nginx_proxy import Passing, unread_include
from wsprobe.lb._nginx_response import response
from wsprobe.lb._nginx_rewrite import Errors, made_inside
from wsprobe.lb._nginx_scope import Scope
from wsprobe.lb._nginx_timers import timers
from wsprobe.lb._nginx_values import Around
from wsprobe.lb._numbers import natural
from wsprobe.lb.expressions import (
    ALWAYS,
    Undecided,
)
from wsprobe.lb.model import Answer, Opaque, Reroute, Retarget, Route, Step

if TYPE_CHECKING:
    from wsprobe.lb._nginx_routes import Server

_ANSWERS = {
    "fastcgi_pass": "FastCGI has no upgrade",
    "uwsgi_pass": "uwsgi has no upgrade",
    "scgi_pass": "SCGI has no upgrade",
    "memcached_pass": "memcached has no upgrade",
    "tunnel_pass": "it is for CONNECT",
    "js_content": "a script answers",
    "content_by_lua_block": "a script answers",
    "content_by_lua_file": "a script answers",
    "content_by_lua": "a script answers",
    "perl": "a script answers",
    "empty_gif": "nginx answers a picture",
    "stub_status": "nginx answers counters",
    "echo": "nginx answers a text",
}
HANDLERS = ("proxy_pass", "grpc_pass", *_ANSWERS)
"""Directives that say who answers; an inner location does not inherit them."""

_NOTED = ("limit_conn", "limit_req", "mirror")
_FILES = "it depends on the files of the machine"


def _no_prefix(url: str) -> str:
    """What nginx says of a URL without http:// or https://, and what to write in place of one for WebSockets."""
    scheme, found, rest = url.partition("://")
    said = 'invalid URL prefix in "proxy_pass"'
    if not found or scheme.lower() not in {"ws", "wss"}:
        return said
    return f"{said}: write {scheme.lower().replace('ws', 'http')}://{rest}, since a WebSocket begins as HTTP"


@dataclass(frozen=True, slots=True)
class Rest:
    """What a block does after the rewriting: access, try_files, and who answers."""

    server: "Server"
    scope: Scope
    location: str
    rewrites: bool
    regex: bool = False

    @property
    def around(self) -> Around:
        """What variables stand for; headers are those that the client sent where nothing edits them before."""
        edited = bool(self.scope.nearest(*INPUT))
        around = self.server.around(self.scope, original=not edited and not self.scope.nearest(*SCRIPTS))
        if not edited:
            return around
        asked = self._asked_before()
        list(input_edits(self.scope, around, asked))
        around = asked.around(around)
        around = replace(around, kept=around.kept | unmoved(self.scope, self.server.values))
        new_host = host(self.scope, self.server.values, around)
        return around.knowing(host=new_host) if new_host else around

    def handler(self) -> Directive | None:
        """Who answers: the directive of the block itself; an `if` or limit_except has it from its location."""
        own = self.scope.own(*HANDLERS)
        if not own and self.scope.kind in {"if", "limit_except"} and self.scope.parent:
            own = self.scope.parent.own(*HANDLERS)
        return own[-1] if own else None

    def passing(self) -> Passing | None:
        """How requests are passed on, None where nginx answers."""
        found = self.handler()
        if found is None or found.name not in {"proxy_pass", "grpc_pass"} or not found.args:
            return None
        return Passing(self.scope, found, self.server.values, self.around, self.location, self.rewrites)

    def route(self, label: str, place: Place, steps: list[Step], name: str = "") -> Route:
        """The route of the block."""
        passing = self.passing()
        own = self.scope.own("proxy_pass")
        if passing and self.regex and own and passing.to.uri and not passing.to.variable:
            why = (
                '"proxy_pass" cannot have a URI part here: the location is a pattern, named, an "if" or a limit_except'
            )
            self.server.problems.append(passing.directive.problem(why))
        if passing and own and not passing.to.scheme and not passing.to.variable:
            self.server.problems.append(passing.directive.problem(_no_prefix(passing.directive.arg(0))))
        answered = any(isinstance(step, Answer) and step.when == ALWAYS for step in steps)
        passes = passing is not None and not answered
        notes = [f"{each.name} {' '.join(each.args)}" for kind in _NOTED for each in self.scope.nearest(kind)]
        return Route(
            label=label,
            name=name,
            match=place.match,
            place=place.scope.place,
            sample=sample(place.scope) if place.scope.kind == "location" else "/",
            sample_host=self.server.host,
            steps=tuple(steps),
            response=tuple(response(self.scope, self.server.values, self.around)),
            upstream=passing.upstream(self.server.addresses) if passing and passes else None,
            timeouts=tuple(timers(self.scope, passing.directive.name)) if passing and passes else (),
            limits=limits(self.scope),
            lost=tuple(passing.lost()) if passing and passes else (),
            notes=tuple(notes),
        )

    def steps(self) -> Iterator[Step]:
        """Access, then try_files, then the answer or what is sent on."""
        errors = self.server.errors(self.scope)
        answers = self.server.fixed_answers()
        yield from Access(self.scope, self.server.values, self.around, errors, answers).steps()
        ended = False
        for step in self._tried(errors):
            ended = ended or isinstance(step, Reroute) or (isinstance(step, Answer) and step.when == ALWAYS)
            yield step
        if ended:
            return
        passing = self.passing()
        if passing:
            yield from passing.steps()
        else:
            yield from self._local()

    def _tried(self, errors: Errors) -> Iterator[Step]:
        for each in self.scope.own("try_files"):
            if len(each.args) < 2:
                return
            found = Undecided("try_files", _FILES)
            yield Answer(status=None, why="try_files finds a file", when=found, place=each.place)
            last = each.args[-1]
            if last.startswith("="):
                yield from errors.steps(natural(last[1:]) or 404, f"try_files ends with {last}", ALWAYS, each)
            elif last.startswith("@"):
                yield Reroute(to=errors.named.get(last, last), why="try_files", place=each.place)
            else:
                value = self.server.values.value(last, self.around)
                yield made_inside("try_files", each, first=(Retarget(value=value, place=each.place),))

    def _local(self) -> Iterator[Step]:
        """Nginx answers by itself; the headers that it would send are of no use."""
        found = self.handler()
        missing = unread_include(self.scope, "proxy_pass")
        if found and found.name in _ANSWERS:
            yield Answer(status=None, why=f"{found.name}: {_ANSWERS[found.name]}", place=found.place)
        elif found:
            yield from _unknown(f"{found.name} has no address, and nginx does not start with that", found)
        elif missing:
            yield from _unknown(f"{missing.unread}; it may say who answers", missing)
        else:
            headers = self.scope.own("proxy_set_header")
            why = "there is no proxy_pass, and nginx looks for a file"
            at = headers[0].place if headers else self.scope.place
            yield Answer(status=None, why=why, place=at)

    def input_edits(self) -> Iterator[Step]:
        """What headers-more does to the headers of the client."""
        if self.scope.nearest(*INPUT):
            yield from input_edits(self.scope, self.server.around(self.scope), self._asked_before())

    def _asked_before(self) -> Asked:
        return asked_before((self.server.scope, self.scope, self.scope.parent), self.server.values)


def _unknown(why: str, said: Directive) -> Iterator[Step]:
    """Who answers, and what is changed before, is not told by the config."""
    yield Opaque(why=why, place=said.place)
    yield Answer(status=None, why="nginx may answer by itself", when=Undecided(said.name, why), place=said.place)
