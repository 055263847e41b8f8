"""What each action of HAProxy's rules does, as steps of the model (manual, 4.2: http-request, http-response, …)."""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace

from wsprobe.frozen import dataclass
from wsprobe.lb._haproxy_acl import RefusedError
from wsprobe.lb._haproxy_converters import replacement
from wsprobe.lb._haproxy_formats import formatted
from wsprobe.lb._haproxy_grammar import Directive
from wsprobe.lb._haproxy_http import awaited
from wsprobe.lb._haproxy_samples import HAS_PATH, PATH, Scope, sample
from wsprobe.lb._haproxy_words import Word
from wsprobe.lb._numbers import natural
from wsprobe.lb.expressions import (
    ALWAYS,
    NEVER,
    Captured,
    Cases,
    Condition,
    How,
    Join,
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
)
from wsprobe.lb.model import (
    Answer,
    Assign,
    Edit,
    Effect,
    Gate,
    Like,
    Method,
    Named,
    Op,
    Opaque,
    Retarget,
    Spoil,
    Step,
)
from wsprobe.parts import Line

QUERY = Of(Subject.QUERY)
WITH_QUERY = Cases(((Test(QUERY, How.EXISTS), Join((Text("?"), QUERY))),), Text(""))
TARGET = Of(Subject.TARGET)


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: its action, the words that it takes, and when it applies."""

    action: str
    argument: str
    words: tuple[Word, ...]
    when: Condition
    place: Line
    scope: Scope

    def word(self, at: int) -> Word:
        """One of its words; RefusedError where there are not so many."""
        if at >= len(self.words):
            raise RefusedError(f"{self.action} needs more words", self.place.column)
        return self.words[at]

    def value(self, at: int) -> Value:
        """One of its words as a log format."""
        word = self.word(at)
        if word.variables:
            return Undecided(word.variables[0], f"the environment variable {word.variables[0]} stands in it")
        return formatted(word, self.scope)

    def after(self, keyword: str) -> Word | None:
        """The word behind a keyword."""
        return next((self.words[at + 1] for at, word in enumerate(self.words[:-1]) if word == keyword), None)


# What each action does. Some take words of their own before a condition can begin.

WORDS = {"set-header": 2, "add-header": 2, "replace-header": 3, "replace-value": 3, "del-header": 1}
WORDS |= {"replace-path": 2, "replace-pathq": 2, "replace-uri": 2, "set-path": 1, "set-pathq": 1, "set-uri": 1}
WORDS |= {"set-query": 1, "set-method": 1, "set-var": 1, "set-var-fmt": 1}

WITHOUT_EFFECT = frozenset(
    {
        *{"add-acl", "del-acl", "set-map", "del-map", "add-map", "cache-use", "cache-store", "capture"},
        *{"disable-l7-retry", "do-resolve", "do-log", "early-hint", "expect-proxy", "expect-netscaler-cip"},
        *{"pause", "sc-inc-gpc", "sc-inc-gpc0", "sc-inc-gpc1", "sc-add-gpc", "sc-set-gpt", "sc-set-gpt0"},
        *{"send-spoe-group", "set-bandwidth-limit", "set-bc-mark", "set-bc-tos", "set-fc-mark", "set-fc-tos"},
        *{"set-dst", "set-dst-port", "set-log-level", "set-mark", "set-nice", "set-priority-class"},
        *{"set-priority-offset", "set-retries", "set-src", "set-src-port", "set-timeout", "set-tos", "strict-mode"},
        *{"track-sc", "track-sc0", "track-sc1", "track-sc2", "wait-for-handshake", "sleep"},
        *{"set-status", "set-reason", "set-cookie-fmt", "continue", "switch-mode"},
    }
)


def _set_header(rule: Rule) -> Iterator[Step]:
    op = Op.SET if rule.action == "set-header" else Op.ADD
    yield Edit(op=op, which=_named(rule.word(0)), value=rule.value(1), when=rule.when, place=rule.place)


def _named(word: Word) -> Named:
    return Named((str(word),))


def _del_header(rule: Rule) -> Iterator[Step]:
    name, method = rule.word(0), rule.after("-m") or "str"
    escaped = re.escape(name.lower())
    patterns = {"beg": f"^{escaped}", "end": f"{escaped}$", "sub": escaped, "reg": str(name)}
    if method == "str":
        yield Edit(op=Op.REMOVE, which=_named(name), when=rule.when, place=rule.place)
    elif method in patterns:
        which = Like(patterns[method], ignore_case=False, lowered=True)
        yield Edit(op=Op.REMOVE, which=which, when=rule.when, place=rule.place)
    else:
        raise RefusedError(f"del-header -m {method[:20]}: no such match", rule.place.column)


def whole(pattern: str, given: str) -> tuple[str, str]:
    r"""A pattern and a replacement that replace a whole value where the pattern is found anywhere in it.

    `\0` is what was found; a group around it would move the numbers of the others, so it gets a name.
    """
    made = replacement(given)
    found = f"(?P<_all>{pattern})" if r"\g<0>" in made else f"(?:{pattern})"
    if r"\g<0>" in made:
        made = re.sub(r"\\g<(\d)>", lambda group: r"\g<_all>" if group[1] == "0" else rf"\g<{int(group[1]) + 1}>", made)
    return rf"(?s)\A.*?{found}.*\Z", made


def _replacing(rule: Rule, at: int) -> tuple[str, str] | None:
    """The pattern and the replacement of a rule; None where they depend on the request."""
    pattern, given = rule.word(at), rule.word(at + 1)
    if pattern.variables or given.variables or "%" in given.replace("%%", ""):
        return None
    return whole(pattern, given.replace("%%", "%"))


def _replace_header(rule: Rule) -> Iterator[Step]:
    which, found = _named(rule.word(0)), _replacing(rule, 1)
    if found is None:
        value = Undecided(rule.action, "the replacement depends on the request")
        yield Edit(op=Op.REPLACE, which=which, value=value, when=rule.when, place=rule.place)
        return
    members = rule.action == "replace-value"
    pattern, made = found
    yield Edit(
        op=Op.REPLACE,
        which=which,
        value=Text(made),
        pattern=pattern,
        members=members,
        when=rule.when,
        place=rule.place,
    )


_HOST = r"^(?:[A-Za-z][A-Za-z0-9+.-]*://)?([^/?#*][^/?#]*)"
_HAS_HOST = Test(TARGET, How.REGEX, (_HOST,))


def _host_of(target: Value, when: Condition, place: Line) -> Edit:
    """The host of a target that has one becomes the Host."""
    has_one = both(has("Host"), Test(target, How.REGEX, (_HOST,)))
    return Edit(
        op=Op.SET, which=Named(("Host",)), value=Captured(target, _HOST, "1"), when=both(when, has_one), place=place
    )


def _beside_host(value: Value, rule: Rule) -> Value:
    """What a rule about the path makes of a target; one with a host, as forward proxies get it, is not followed."""
    return Cases(
        ((_HAS_HOST, Undecided(rule.action, f"{rule.action} on a target with a host is not followed")),), value
    )


def _replace_target(rule: Rule) -> Iterator[Step]:
    found = _replacing(rule, 0)
    subject: Value = PATH if rule.action == "replace-path" else TARGET
    if found is None:
        value: Value = Undecided(rule.action, "the replacement depends on the request")
    elif rule.action == "replace-path":
        value = Join((Substituted(subject, *found), WITH_QUERY))
    else:
        value = Substituted(subject, *found)
    matched = both(rule.when, Test(subject, How.REGEX, (str(rule.word(0)),)))
    if rule.action == "replace-uri":
        yield _host_of(value, matched, rule.place)
        yield Retarget(value=value, when=matched, place=rule.place)
    else:
        yield Retarget(value=_beside_host(value, rule), when=both(matched, HAS_PATH), place=rule.place)


def _set_target(rule: Rule) -> Iterator[Step]:
    value = rule.value(0)
    if rule.action == "set-uri":
        yield _host_of(value, rule.when, rule.place)
        yield Retarget(value=value, when=rule.when, place=rule.place)
        return
    made: dict[str, Value] = {
        "set-path": Join((value, WITH_QUERY)),
        "set-query": Join((PATH, Text("?"), value)),
    }
    made_of = _beside_host(made.get(rule.action, value), rule)
    yield Retarget(value=made_of, when=rule.when, place=rule.place)


def _unknown_target(rule: Rule) -> Iterator[Step]:
    value = Undecided(rule.action, f"what {rule.action} makes of the request target is not followed")
    yield Retarget(value=value, when=rule.when, place=rule.place)


def _set_method(rule: Rule) -> Iterator[Step]:
    yield Method(value=rule.value(0), when=rule.when, place=rule.place)


def _set_var(rule: Rule) -> Iterator[Step]:
    name, _, conditions = rule.argument.partition(",")
    value = rule.value(0) if rule.action == "set-var-fmt" else sample("".join(rule.words), rule.scope).single
    if conditions:
        value = Undecided(name, "it is assigned under a condition of its own")
    there = both(rule.when, Test(value, How.EXISTS))
    yield Assign(name=name, value=value, when=there, place=rule.place)


def _unset_var(rule: Rule) -> Iterator[Step]:
    yield Assign(name=rule.argument, value=Cases(()), when=rule.when, place=rule.place)


def _answer(rule: Rule, status: int | None, why: str) -> Answer | Spoil:
    if rule.scope.response:
        why = f"{why}: a 101 does not reach the client"
        return Spoil(status=status, why=why, when=rule.when, place=rule.place)
    return Answer(status=status, why=why, when=rule.when, place=rule.place)


_STATUS = {"deny": 403, "tarpit": 500, "return": 200, "reject": None, "silent-drop": None}


def _refuse(rule: Rule) -> Iterator[Step]:
    given = rule.after("deny_status") or rule.after("status")
    status = _STATUS[rule.action]
    if rule.scope.response and rule.action == "deny":
        status = 502
    if given is not None:
        status = natural(given)
    why = f"{rule.action} answers by itself" if status else f"{rule.action} drops the connection"
    page = rule.after("errorfile")
    if status and page is not None:
        status = status_of(page, status)
    elif rule.action != "return" and status:
        status = rule.scope.errors.get(status, status) or (status if rule.scope.response else None)
    yield _answer(rule, status, why)


def status_of(page: str, status: int) -> int | None:
    """What a file answers that is sent in place of a status: its own, of which its name may speak; it is not opened."""
    return status if not page or str(status) in page.rpartition("/")[2] else None


def redirects(rule: Rule) -> Iterator[Step]:
    """A redirect; with `ignore-empty` only where it leads somewhere."""
    code = rule.after("code")
    when = rule.when
    if "ignore-empty" in rule.words:
        where = next((at + 1 for at, word in enumerate(rule.words) if word in {"location", "prefix"}), 1)
        when = both(when, Not(Test(rule.value(where), How.EQUALS, ("",))))
    yield _answer(replace(rule, when=when), natural(code or "") or 302, "a redirect")


def _auth(rule: Rule) -> Iterator[Step]:
    yield Gate(
        kind="http-request auth",
        header="Authorization",
        effect=Effect.READS,
        passes=NEVER if rule.when == ALWAYS else Not(rule.when),
        when=ALWAYS,
        place=rule.place,
    )


def _service(rule: Rule) -> Iterator[Step]:
    name = rule.word(0)
    yield _answer(rule, 200 if name == "prometheus-exporter" else None, f"the service {name} answers")


REMOVED_RULES = frozenset(
    {
        *{"reqadd", "reqallow", "reqdel", "reqdeny", "reqiallow", "reqidel", "reqideny", "reqipass", "reqirep"},
        *{"reqitarpit", "reqpass", "reqrep", "reqtarpit", "rspadd", "rspdel", "rspdeny", "rspidel", "rspideny"},
        *{"rspirep", "rsprep", "block"},
    }
)
"""Rules of old about whole header lines; HAProxy 2.1 and later refuse a file with one of them."""


def of_old(line: Directive) -> Opaque:
    """What such a rule does cannot be followed."""
    return Opaque(why=f"{line.name} works on whole header lines, and is not followed", place=line.place)


def _wait(rule: Rule) -> Iterator[Step]:
    yield awaited(rule.when, rule.place)


ACTIONS: dict[str, Callable[[Rule], Iterator[Step]]] = {
    "set-header": _set_header,
    "add-header": _set_header,
    "del-header": _del_header,
    "replace-header": _replace_header,
    "replace-value": _replace_header,
    "replace-path": _replace_target,
    "replace-pathq": _replace_target,
    "replace-uri": _replace_target,
    "set-path": _set_target,
    "set-pathq": _set_target,
    "set-uri": _set_target,
    "set-query": _set_target,
    "normalize-uri": _unknown_target,
    "set-method": _set_method,
    "set-var": _set_var,
    "set-var-fmt": _set_var,
    "unset-var": _unset_var,
    "deny": _refuse,
    "tarpit": _refuse,
    "return": _refuse,
    "reject": _refuse,
    "silent-drop": _refuse,
    "redirect": redirects,
    "auth": _auth,
    "use-service": _service,
    "wait-for-body": _wait,
}
