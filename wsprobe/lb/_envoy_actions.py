"""What Envoy's router does with a request that a route took: where it goes, and what is rewritten on the way."""

import re
from collections.abc import Iterator

from wsprobe.lb._envoy_clusters import UNKNOWN
from wsprobe.lb._envoy_head import STILL, UPGRADE
from wsprobe.lb._envoy_headers import Scope, formatted, guarded, mutations
from wsprobe.lb._envoy_match import regex
from wsprobe.lb._envoy_proto import flag, get, number, text, words
from wsprobe.lb._envoy_targets import Router, Target
from wsprobe.lb._envoy_timers import answer_timeout
from wsprobe.lb._yaml import Node
from wsprobe.lb.expressions import (
    ALWAYS,
    Cases,
    Condition,
    How,
    Join,
    Lines,
    Not,
    Of,
    Subject,
    Substituted,
    Test,
    Text,
    Undecided,
    Value,
    both,
    has,
    header,
)
from wsprobe.lb.model import Answer, Edit, Method, Named, Op, Opaque, Retarget, Step

_ORIGINAL_HOST = (1, 35)  # the first that tells the upstream the host before it was rewritten
_REDIRECTS = {"": 301, "MOVED_PERMANENTLY": 301, "FOUND": 302, "SEE_OTHER": 303}
_REDIRECTS |= {"TEMPORARY_REDIRECT": 307, "PERMANENT_REDIRECT": 308}
_OWN = words(
    "x-envoy-upstream-rq-timeout-ms x-envoy-upstream-rq-per-try-timeout-ms x-envoy-upstream-rq-timeout-alt-response "
    "x-envoy-upstream-stream-duration-ms x-envoy-upstream-alt-stat-name x-envoy-retry-on x-envoy-retry-grpc-on "
    "x-envoy-max-retries x-envoy-retriable-status-codes x-envoy-retriable-header-names x-envoy-hedge-on-per-try-timeout"
)
_RAW_PATH = Of(Subject.RAW_PATH)
_TARGET = Of(Subject.TARGET)
_QUERY = Cases(((Test(Of(Subject.QUERY), How.EXISTS), Join((Text("?"), Of(Subject.QUERY)))),))


def answered(route: Node) -> Answer | None:
    """The answer of a route that asks no upstream."""
    if direct := get(route, "direct_response"):
        return Answer(status=number(direct, "status"), why="a direct_response", place=direct.place)
    if redirect := get(route, "redirect"):
        status = _REDIRECTS.get(text(redirect, "response_code"), 301)
        return Answer(status=status, why="a redirect", place=redirect.place)
    if other := get(route, "non_forwarding_action") or get(route, "filter_action"):
        return Answer(status=None, why="the route forwards nothing", place=other.place)
    return None


def steps(levels: list[Node], route: Node, to: Target, router: Router, *, specific_wins: bool) -> tuple[Step, ...]:
    """What the router does, in its order; `levels` are route, virtual host and route configuration."""
    action = get(route, "route")
    scope = Scope(router.client, text(route, "name"), to.name)
    ordered = [mutations(level, scope) for level in levels]
    if specific_wins:
        ordered.reverse()
    return (
        *to.steps,
        *_expected(action, router),
        *_attempts(levels),
        *_weighted(to.weighted, scope),
        *_weighted_host(to.weighted),
        *(step for each in ordered for step in each),
        *_host(action, to, router),
        *_path(action, get(route, "match"), scope, router),
    )


def _weighted(entries: tuple[Node, ...], scope: Scope) -> list[Step]:
    """The edits of the cluster that is drawn: certain only where all clusters have the same."""
    made = [mutations(entry, scope) for entry in entries]
    alike = {
        tuple((type(step), getattr(step, "which", ""), getattr(step, "value", "")) for step in each) for each in made
    }
    if len(alike) <= 1:
        return made[0] if made else []
    which = Undecided("", f"one of {len(entries)} weighted clusters is drawn for each request")
    return [step for each in made for step in guarded(each, which)]


def _weighted_host(entries: tuple[Node, ...]) -> Iterator[Step]:
    """The Host that the cluster that is drawn asks for; the upstream is not told the one before."""
    literal = [found for each in entries if (found := get(each, "host_rewrite_literal"))]
    if literal:
        same = len({one.text for one in literal}) == 1 and len(literal) == len(entries)
        value: Value = Text(literal[0].text) if same else Undecided("", "depends on the weighted cluster that is drawn")
        yield Edit(op=Op.SET, which=Named(("host",)), value=value, place=literal[0].place)


def _expected(action: Node | None, router: Router) -> Iterator[Step]:
    """The upstream is told how long Envoy will wait."""
    own = Edit(op=Op.REMOVE, which=Named(tuple(sorted(_OWN))))
    if router.suppressed:
        yield own
        return
    written, tried = answer_timeout(action)
    total = round((written.seconds or 0) * 1000) if written.applies else 0
    each = round((tried.seconds or 0) * 1000)
    shorter = bool(each) and (not total or each < total)
    place = (tried if shorter else written).place
    name = Named(("x-envoy-expected-rq-timeout-ms",))
    yield Edit(op=Op.SET, which=name, value=_asked(total, each), place=place)
    yield own


def _asked(total: int, each: int) -> Value:
    """The timeout of a try if that is shorter, else that of all; a client that is trusted may ask for others."""
    number = r"\A[0-9]+\Z"
    asked, tried = header("x-envoy-upstream-rq-timeout-ms"), header("x-envoy-upstream-rq-per-try-timeout-ms")
    is_asked, is_tried = Test(asked, How.REGEX, (number,)), Test(tried, How.REGEX, (number,))
    both_of = Undecided("", "the timeouts that the client asks for are compared")
    positive: Value = Cases(((Test(asked, How.BETWEEN, ("1:",)), asked),))
    for_all = Cases(((Test(asked, How.BETWEEN, ("0:0", f"{each + 1}:")), _milliseconds(each)),), positive)
    below = f"1:{total - 1}" if total else "1:"
    for_each = Cases(((Test(tried, How.BETWEEN, (below,)), tried),), _milliseconds(total))
    configured = each if each and (not total or each < total) else total
    cases = (both(is_asked, is_tried), both_of), (is_asked, for_all if each else positive), (is_tried, for_each)
    return Cases(cases, _milliseconds(configured))


def _milliseconds(value: int) -> Value:
    return Text(str(value)) if value else Cases(())


def _attempts(levels: list[Node]) -> Iterator[Step]:
    for level in levels:
        if (counts := get(level, "include_request_attempt_count")) and counts.boolean:
            yield Edit(op=Op.SET, which=Named(("x-envoy-attempt-count",)), value=Text("1"), place=counts.place)


def _host(action: Node | None, to: Target, router: Router) -> Iterator[Step]:
    value, when, place = _new_host(action, to)
    if value is None or place is None:
        return
    host = header("host")
    named = both(when, Test(host, How.REGEX, (".",)))
    if (append := get(action, "append_x_forwarded_host")) and append.boolean:
        forwarded = Of(Subject.HEADER, "x-forwarded-host", lines=Lines.JOINED, separator=",")
        last = Test(Join((forwarded, Text("\n"), host)), How.REGEX, (r"(?:\A|,)[ \t]*([^,\n]*)\n\1\Z",))
        yield Edit(
            op=Op.APPEND,
            which=Named(("x-forwarded-host",)),
            value=host,
            separator=",",
            drop_empty=True,
            when=both(named, Not(last)),
            place=append.place,
        )
    if router.reading.version >= _ORIGINAL_HOST and not router.suppressed:
        yield Edit(op=Op.SET, which=Named(("x-envoy-original-host",)), value=host, when=named, place=place.place)
    yield Edit(op=Op.SET, which=Named(("host",)), value=value, when=when, place=place.place)


def _new_host(action: Node | None, to: Target) -> tuple[Value | None, Condition, Node | None]:
    if found := get(action, "host_rewrite_literal"):
        return Text(found.text), ALWAYS, found
    if found := get(action, "host_rewrite_header"):
        value = header(found.text.lower())
        return value, Test(value, How.REGEX, (".",)), found
    if found := get(action, "host_rewrite_path_regex"):
        return rewritten(found, _RAW_PATH), ALWAYS, found
    if found := get(action, "host_rewrite"):
        return Undecided("", "host_rewrite is a format that is not followed"), ALWAYS, found
    if (found := get(action, "auto_host_rewrite")) and found.boolean:
        return _automatic(to, found)
    return None, ALWAYS, None


def _automatic(to: Target, found: Node) -> tuple[Value | None, Condition, Node | None]:
    """The name of the endpoint that is chosen; a plain address is no name, and nothing is rewritten."""
    names = to.cluster.hostnames if to.cluster else ("", "?")
    if len(names) == 1 and len(to.weighted) <= 1:
        return (Text(names[0]) if names[0] else None), ALWAYS, found
    return Undecided("", "the name of the endpoint that is chosen"), ALWAYS, found


def rewritten(node: Node, value: Value) -> Value:
    """A value as a RegexMatchAndSubstitute leaves it."""
    substitution = re.sub(r"\\([0-9])", r"\\g<\1>", text(node, "substitution"))
    return Substituted(value, regex(get(node, "pattern")), substitution, all=True)


def _path(action: Node | None, match: Node | None, scope: Scope, router: Router) -> Iterator[Step]:
    path, place = _new_path(action, match, scope, router)
    if path is None or place is None:
        return
    if not router.suppressed:
        yield Edit(op=Op.SET, which=Named(("x-envoy-original-path",)), value=_TARGET, place=place.place)
    whole = path if isinstance(path, Undecided) else Join((path, _QUERY))
    yield Retarget(value=whole, place=place.place)


def _new_path(
    action: Node | None, match: Node | None, scope: Scope, router: Router
) -> tuple[Value | None, Node | None]:
    if (found := get(action, "prefix_rewrite")) and found.text:
        matched = get(match, "prefix") or get(match, "path_separated_prefix")
        rest = Substituted(_RAW_PATH, rf"(?s)\A.{{{len(matched.text)}}}", "") if matched else Text("")
        return Join((Text(found.text), rest)), found
    if found := get(action, "regex_rewrite"):
        return rewritten(found, _RAW_PATH), found
    if found := get(action, "path_rewrite"):
        return formatted(found.text, scope), found
    if found := get(action, "path_rewrite_policy"):
        router.reading.skip(found, "an extension rewrites the path")
        return Undecided("", "an extension rewrites the path"), found
    return None, None


def sent(to: Target) -> Iterator[Step]:
    """What becomes of an upgrade as it is sent: over HTTP/2 it is a CONNECT of its own kind (RFC 8441)."""
    place = to.upstream.protocol_place
    if to.upstream.protocol in {"h2", "h2c"}:
        yield Method(value=Text("CONNECT"), when=UPGRADE, place=place)
        yield Edit(op=Op.REMOVE, which=Named(("connection", "upgrade")), when=UPGRADE, place=place)
        return
    if to.upstream.protocol == UNKNOWN and to.asked:
        open_ = Undecided("", "whether it is HTTP/2, where an upgrade is a CONNECT, depends on the upstream")
        yield Method(value=open_, when=UPGRADE, place=place)
        yield Edit(op=Op.REMOVE, which=Named(("connection", "upgrade")), when=both(UPGRADE, open_), place=place)
    elif to.upstream.protocol == UNKNOWN:
        why = "its cluster comes from elsewhere while Envoy runs; over HTTP/2 an upgrade would be a CONNECT"
        yield Opaque(why=why, names=("the protocol of the upstream",), place=to.upstream.place)
    # Who takes Upgrade away leaves a request whose body has no end.
    open_ended = both(UPGRADE, Not(STILL), Not(has("content-length")))
    yield Edit(op=Op.SET, which=Named(("transfer-encoding",)), value=Text("chunked"), when=open_ended)


def responses(levels: list[Node], to: Target | None, scope: Scope) -> tuple[Edit, ...]:
    """The edits of the response, a 101 too."""
    found = [step for level in levels for step in mutations(level, scope, "response_headers")]
    drawn = [step for entry in (to.weighted if to else ()) for step in mutations(entry, scope, "response_headers")]
    return tuple(step for step in [*drawn, *found] if isinstance(step, Edit))


def suppresses(router: Node | None) -> bool:
    """Whether the router filter is told to leave its own headers out."""
    return flag(router, "suppress_envoy_headers")
