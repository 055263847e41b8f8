"""Traefik's middlewares that change the path of a request or send the client elsewhere."""

import re

from wsprobe.lb._paths import PathForm, written
from wsprobe.lb._traefik_chain import Chain, DisabledError
from wsprobe.lb._traefik_matchers import RuleError, pattern, regex
from wsprobe.lb._traefik_proxy import ESCAPED_PATH, IS_SECURE, RAW_PATH, with_query
from wsprobe.lb._traefik_tree import Setting
from wsprobe.lb.expressions import (
    Cases,
    Condition,
    How,
    Join,
    Not,
    Of,
    OneOf,
    Subject,
    Substituted,
    Test,
    Text,
    Undecided,
    Value,
    Without,
    Written,
    both,
    header,
)
from wsprobe.lb.model import Answer, Assign, Edit, Named, Op, Retarget
from wsprobe.parts import Line

_DECODED = Written(RAW_PATH, PathForm.RESOLVED)
_GET = Test(Of(Subject.METHOD), How.EQUALS, ("GET",))
_REFERENCE = re.compile(r"\$(?:\$|\{(\w+)\}|(\w+))")
_NO_ESCAPE = "%(?![0-9A-Fa-f]{2})"
# What makes Go keep a path as it was written: an escape that none was needed for, or a character that needs one.
_RAW = r"[^A-Za-z0-9\-._~$&+,/:;=@%]|%(?:[0-9A-F]?[a-f]|24|26|2[B-F]|3[0-9ABD]|4[0-9A-F]|5[0-9AF]|6[1-9A-F]|7[0-9AE])"
# Go replaces nothing where nothing is found right behind what it has replaced.
_NOT_ABUTTING = r"(?:(?<=\G[\s\S]+)|(?<![\s\S]))"
_UNCLEAN = r"//|/\.\.?(?:/|$)"
_KEPT = "raw path"
_CHANGED = "changed path"
_APART = "the path that is sent is not the one that is shown"
_PORTS = {"https": "443", "http": "80"}


_IS_APART = Test(Of(Subject.VARIABLE, _APART), How.EXISTS)
_OPEN = Undecided("addPrefix", "an escape in addPrefix makes two paths of one")
_SHOWN = Cases(((_IS_APART, _OPEN),), RAW_PATH)


def replacement(text: str, wanted: str) -> str:
    """A replacement as Go writes it, for the engine here; a group that the pattern does not have is empty."""
    import regex as engine

    groups = engine.compile(pattern(text))
    known = {*map(str, range(groups.groups + 1)), *groups.groupindex}
    made, at = [], 0
    for found in _REFERENCE.finditer(wanted):
        name = found[1] or found[2]
        group = f"\\g<{name}>" if name in known else "" if name else "$"
        made += [wanted[at : found.start()].replace("\\", "\\\\"), group]
        at = found.end()
    return "".join([*made, wanted[at:].replace("\\", "\\\\")])


def _octets(text: str) -> str:
    """A text as a path that was received has it: a character an octet, and no question mark, which ends a path."""
    return text.encode().decode("latin-1").replace("?", "%3F")


def _checked(setting: Setting, text: str) -> str:
    try:
        regex(RAW_PATH, text)
    except RuleError as error:
        raise DisabledError(f"{setting.name}: {error}", setting.place) from None
    return pattern(text)


def add_prefix(setting: Setting, chain: Chain) -> None:
    """Puts a prefix before the path."""
    chain.unknown_fields(setting, ("prefix",))
    prefix = setting.word("prefix")
    if not prefix:
        raise DisabledError("addPrefix has no prefix", setting.place)
    prefix = prefix if prefix.startswith("/") else f"/{prefix}"
    whole: Value = Join((Text(_octets(prefix)), RAW_PATH))
    if written(PathForm.QUOTED, prefix) != prefix:
        quoted = Written(Join((Text(prefix), _DECODED)), PathForm.QUOTED)
        raw = OneOf((Test(Of(Subject.VARIABLE, _KEPT), How.EXISTS), Test(RAW_PATH, How.REGEX, (_RAW,))))
        if "%" in prefix:  # the path is then escaped anew, while Traefik still has the one that was put together
            chain.steps.append(Assign(name=_APART, value=Cases(((raw, Text("1")),))))
        whole = quoted if "%" in prefix else Cases(((raw, whole),), quoted)
    chain.steps.append(Retarget(value=with_query(whole), place=_at(setting, "prefix")))


def strip_prefix(setting: Setting, chain: Chain) -> None:
    """Takes the first prefix away that the path has, and tells it in X-Forwarded-Prefix."""
    chain.unknown_fields(setting, ("prefixes", "forceSlash"))
    prefixes = setting.texts("prefixes")
    found = [(prefix, Test(_DECODED, How.PREFIX, (prefix,))) for prefix in prefixes if prefix]
    told = tuple((when, Text(prefix.strip())) for prefix, when in found)
    left = tuple((when, with_query(_left(prefix))) for prefix, when in found)
    _stripped(setting, chain, Cases(told), Cases(left), "prefixes")


def _left(prefix: str) -> Value:
    quoted = re.escape(written(PathForm.QUOTED, prefix))
    # A slash that is escaped in the raw path makes the two differ, and Go goes by the decoded one then.
    begins = Test(RAW_PATH, How.REGEX, (rf"\A{quoted}(?!%2F)",))
    decoded = Written(_rooted(Without(_DECODED, prefix)), PathForm.QUOTED)
    return Cases(((begins, _rooted(Substituted(RAW_PATH, rf"\A{quoted}", ""))),), decoded)


def _rooted(path: Value) -> Value:
    """A path with its first slash, unless nothing is left of it."""
    return Substituted(path, r"\A(?=[^/])", "/")


def strip_prefix_regex(setting: Setting, chain: Chain) -> None:
    """Takes away what the first pattern finds at the beginning of the path."""
    chain.unknown_fields(setting, ("regex",))
    told, left = [], []
    shown = Written(RAW_PATH, PathForm.DECODED)
    for text in setting.texts("regex"):
        _checked(setting, text.strip())
        # Atomic, since Go looks for no other match where what stands behind the first one does not suit.
        begins = rf"(?a)\A(?>{text.strip()})(?<=[\s\S])"
        when = Test(_DECODED, How.REGEX, (begins,))
        told.append((when, Substituted(shown, rf"(?a)\A({text.strip()})[\s\S]*\Z", r"\1")))
        decoded = Written(_rooted(Substituted(_DECODED, begins, "")), PathForm.QUOTED)
        same = Test(RAW_PATH, How.REGEX, (rf"{begins}(?!%2F)",))
        rest = _rooted(Substituted(RAW_PATH, begins, ""))
        left.append((when, with_query(Cases(((same, rest),), decoded))))
    _stripped(setting, chain, Cases(tuple(told)), Cases(tuple(left)), "regex")


def _stripped(setting: Setting, chain: Chain, told: Cases, left: Cases, option: str) -> None:
    place = _at(setting, option)
    chain.steps.append(Assign(name=_CHANGED, value=told))
    chain.steps.append(Edit(op=Op.ADD, which=Named(("X-Forwarded-Prefix",)), value=told, place=place))
    chain.steps.append(Retarget(value=left, place=place))
    changed = Test(Of(Subject.VARIABLE, _CHANGED), How.EXISTS)
    chain.steps.append(Retarget(value=with_query(ESCAPED_PATH), when=changed))
    chain.steps.append(Assign(name=_KEPT, value=Cases(()), when=changed))
    unclean = both(changed, Test(RAW_PATH, How.REGEX, (_UNCLEAN,)))
    why = f"what {setting.name} leaves of the path is not clean"
    chain.steps.append(Answer(status=400, why=why, when=unclean, place=place))


def replace_path(setting: Setting, chain: Chain) -> None:
    """Replaces the path, and tells the one before in X-Replaced-Path."""
    chain.unknown_fields(setting, ("path",))
    path = setting.word("path")
    place = _at(setting, "path")
    if re.search(_NO_ESCAPE, path):
        chain.steps.append(Answer(status=500, why="replacePath has an escape that is none", place=place))
    chain.steps.append(Edit(op=Op.ADD, which=Named(("X-Replaced-Path",)), value=_SHOWN, place=place))
    chain.steps.append(Retarget(value=with_query(Text(_octets(path))), place=place))
    chain.steps.append(Assign(name=_KEPT, value=Text(path)))


def replace_path_regex(setting: Setting, chain: Chain) -> None:
    """Replaces what a pattern finds in the path, and tells the path before in X-Replaced-Path."""
    chain.unknown_fields(setting, ("regex", "replacement"))
    text, wanted = setting.word("regex").strip(), setting.word("replacement").strip()
    found = _checked(setting, text)
    if not wanted:
        return
    place = _at(setting, "regex")
    when = Test(RAW_PATH, How.REGEX, (found,))
    changed = Substituted(RAW_PATH, f"(?:{found}){_NOT_ABUTTING}", _octets(replacement(text, wanted)), all=True)
    broken = both(when, Test(changed, How.REGEX, (_NO_ESCAPE,)))
    unclean = both(when, Test(changed, How.REGEX, (_UNCLEAN,)))
    chain.steps.extend(
        (
            Answer(status=500, why="replacePathRegex makes an escape that is none", when=broken, place=place),
            Answer(status=400, why="replacePathRegex makes a path that is not clean", when=unclean, place=place),
            Edit(
                op=Op.ADD,
                which=Named(("X-Replaced-Path",)),
                value=_SHOWN,
                when=OneOf((_IS_APART, when)),
                place=place,
            ),
            Assign(name=_KEPT, value=Cases(()), when=when),
            Retarget(value=with_query(Written(changed, PathForm.ESCAPED)), when=when, place=place),
            Retarget(value=_OPEN, when=_IS_APART, place=place),
        )
    )


def redirect_scheme(setting: Setting, chain: Chain) -> None:
    """Sends the client to the same place with another scheme or port."""
    chain.unknown_fields(setting, ("scheme", "port", "permanent", "forcePermanentRedirect"))
    scheme = setting.word("scheme")
    if not scheme:
        raise DisabledError("redirectScheme has no scheme", setting.place)
    permanent = setting.flag("permanent")
    chain.steps.extend(redirection(scheme, setting.word("port"), permanent=permanent, place=setting.place))
    chain.steps.append(Retarget(value=Substituted(Of(Subject.TARGET), "#.*", "")))  # it is written anew


def redirection(scheme: str, port: str, *, permanent: bool, place: Line | None) -> tuple[Answer, ...]:
    """The answers to requests that have not come with that scheme and to that port."""
    secure: Condition = IS_SECURE if scheme == "https" else Not(IS_SECURE)
    usual = port in {"", _PORTS.get(scheme)}
    there = rf"^(?:\[[^\]]*\]|[^:]*)(?::{_PORTS.get(scheme, '')})?$" if usual else f":{re.escape(port)}$"
    same = both(secure, Test(Of(Subject.AUTHORITY), How.REGEX, (there,)))
    bracketed = Test(Of(Subject.AUTHORITY), How.REGEX, (r"^\[.*\]:",))
    why = "the redirection does not understand an IPv6 address with a port"
    broken = Answer(status=502, why=why, when=both(Not(same), bracketed), place=place)
    return broken, *_moved(Not(same), f"the client is sent to {scheme}", permanent=permanent, place=place)


def _moved(when: Condition, why: str, *, permanent: bool, place: Line | None) -> tuple[Answer, Answer]:
    to_get, to_other = (301, 308) if permanent else (302, 307)
    return (
        Answer(status=to_get, why=why, when=both(_GET, when), place=place),
        Answer(status=to_other, why=why, when=both(Not(_GET), when), place=place),
    )


def redirect_regex(setting: Setting, chain: Chain) -> None:
    """Sends the client elsewhere where a pattern is found in the URL."""
    chain.unknown_fields(setting, ("regex", "replacement", "permanent"))
    found = _checked(setting, setting.word("regex"))
    # The scheme is that of the connection, whatever X-Forwarded-Proto says.
    scheme, port = ("https://", ":443$") if chain.tls else ("http://", ":80$")
    url = Join((Text(scheme), Substituted(header("Host"), port, ""), Of(Subject.TARGET)))
    when = Test(url, How.REGEX, (found,))
    why = "redirectRegex sends the client elsewhere"
    chain.steps.extend(_moved(when, why, permanent=setting.flag("permanent"), place=setting.place))


def _at(setting: Setting, option: str) -> Line:
    return (setting.get(option) or setting).place
