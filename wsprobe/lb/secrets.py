r"""Where secrets stand in the configs of load balancers: hashes of passwords, credentials that directives set, keys.

Pure, and the same for all kinds of config: a line is searched for the shape of a secret, and for a literal value in a
place where secrets stand. What only refers to one (a variable, an expression, a file) is none. In doubt it takes too
much.
"""

import re
from collections.abc import Generator, Iterator
from dataclasses import fields, is_dataclass
from functools import cache

from wsprobe.credentials import SCHEMES, is_secret_name
from wsprobe.freetext import Span, find_tokens, is_prose
from wsprobe.inspection import Timeout, Unknown
from wsprobe.lb.expressions import How, Of, Subject, Test, Text
from wsprobe.lb.model import Config, Edit, Limit, Named, Op
from wsprobe.parts import Line
from wsprobe.patterns import lazy

# Each pattern with texts of which one has to be there, in lower case: most lines have none, and then it is not even
# compiled, which would cost more than all else that a small config takes.
_Pattern = tuple[tuple[str, ...], str]

# Shapes that tell by themselves. A compose file doubles each dollar sign.
_HASH: _Pattern = (
    ("$", "{", "jdj"),
    (
        r"\${1,2}(?:2[abxy]?|apr1|[1567y]|sha1|md5|argon2\w{1,2}|scrypt|pbkdf2[\w-]*)\${1,2}[^\s\"'`,;|]{6,}"
        r"|\{(?:s?sha\d*|s?md5|crypt|plain)\}[^\s\"'`,;]+"
        r"|\b(?-i:JDJ[hi45]J[A-Za-z0-9+/]{20,}={0,2})"
    ),  # bcrypt in base64, as Caddy wanted it before 2.8
)
_PEM = r"-----BEGIN[A-Z ]* PRIVATE KEY-----(.*?)(?:-----END|\Z)"
_PEM_LINE = r"[A-Za-z0-9+/=]{16,}"

# A value as the six grammars write one: quoted in three ways, or a word, in which a brace stands for an expression.
_WORD = r"(?:\\.|%\[[^\]]*\]|[$%]?\{[^{}\s]*\}|[^\s;{}\"'`\\])"
_VALUE = rf"""(?:"(?:[^"\\]|\\.)*+"?|'(?:[^'\\]|\\.)*+'?|`[^`]*+`?|{_WORD}++)"""
_ONE = f"(?P<values>{_VALUE})"
_VALUES = rf"(?P<values>{_VALUE}(?:[ \t]+(?!if\s|unless\s|env=|expr=|\#){_VALUE})*+)"
_NAME = r"(?P<name>[\w.-]+)"
_QUOTED = r"[\"'`]?(?P<name>[\w.-]+)[\"'`]?"

_NAMED: tuple[_Pattern, ...] = (
    # nginx
    (
        ("_header", "_param", "more_set"),
        rf"\b(?:\w+_(?:set_header|param)|add_header|more_set_(?:input_)?headers?)\s+{_QUOTED}\s+{_VALUES}",
    ),
    (("set",), rf"\bset\s+\$(?P<name>\w+)\s+{_VALUES}"),
    (
        ("$",),
        rf"\$\{{?(?:http_|cookie_|arg_|upstream_http_|sent_http_)?(?P<name>\w+)\}}?[\"']?\s*(?:!?=|!?~\*?|==)\s*{_VALUES}",
    ),
    # HAProxy
    (("-header", "-value", "-cookie"), rf"\b(?:set|add|replace)-(?:header|value|cookie)\s+{_QUOTED}\s+{_VALUES}"),
    (("set-var",), rf"\bset-var(?:-fmt)?\((?:\w+\.)?{_NAME}\)\s+{_VALUES}"),
    (
        ("hdr(", "cook(", "cook_val(", "urlp", "url_param("),
        rf"\b(?:f?hdr|cook|urlp|url_param)\w*\({_NAME}[^)]*\)(?:,[\w(),]+)?\s+(?:-[imf]\s+(?:(?:str|beg|end|sub|reg|dir|dom)\s+)?)*{_VALUES}",
    ),
    (("hdr",), rf"\bhdr\s+{_QUOTED}\s+{_VALUES}"),
    (("setenv", "define"), rf"\b(?:(?:pre)?setenv(?:if\w*)?|define)\s+{_QUOTED}\s+{_ONE}"),
    # Caddy
    (("header",), rf"\b(?:header_up|header_down|request_header|header)\s+[\"']?[-+?>]?{_NAME}[\"']?\s+{_VALUES}"),
    # Apache
    (
        ("header",),
        rf"\b(?:Request)?Header\s+(?:(?:always|onsuccess|early)\s+)?(?:set|add|append|merge|setifempty|edit\*?)\s+{_QUOTED}\s+{_VALUES}",
    ),
    (("%{",), rf"%\{{(?:HTTP:|HTTP_|COOKIE:|ENV:)?{_NAME}\}}[\"']?\s+(?:(?:-\w+|!?==?|!?=~|-strmatch)\s+)?{_VALUES}"),
    (("header_regexp",), rf"\bheader_regexp\s+(?:\w+\s+)?{_NAME}\s+{_ONE}"),
    # The default of a placeholder: Caddy, compose
    (("{",), r"\$?\{\$?(?P<name>\w+):[-=?]?(?P<values>[^\s{}][^{}]*)\}"),
    # The first key of a mapping in YAML, whose others follow after a comma; `key` beside a value names a header
    (
        ("{",),
        r"\{(?!key:[^,{}]*,\s*value\b)(?P<name>\w+):\s+(?P<values>\"(?:[^\"\\]|\\.)*+\"?|'[^']*+'?|[^\s,{}\"'][^,{}\"']*)",
    ),
    # Traefik's rules
    (("header", "query"), rf"\b(?:Header|Query|Headers)(?:Regexp)?\(\s*[\"'`]?{_NAME}[\"'`]?\s*(?:,|=)\s*{_ONE}"),
    # Lists and mappings
    ((",",), rf"(?P<q>[\"'`])(?P<name>[\w.-]+)(?P=q)\s*,\s*{_ONE}(?!\s*:)"),
)
_PAIR: _Pattern = (
    ("key", "name", "header"),
    (
        rf"\b(?:key|name|header)[\"']?\s*[:=]\s*[\"']?(?P<name>[\w.-]+)[\"']?[\s,}}]+[\"']?"
        rf"(?:(?:string_?match|header)[\"']?\s*:\s*\{{\s*[\"']?)?(?:raw_?)?(?:value|exact|prefix|suffix|contains|regex|\w+_match)"
        rf"[\"']?\s*[:=]\s*{_ONE}"
    ),
)
# Whatever follows these is a secret, whoever it belongs to.
_KEYED: tuple[_Pattern, ...] = (
    (("password",), rf"\b(?:insecure-)?password\s+{_ONE}"),
    (("stats",), r"\bstats\s+auth\s+(?P<values>[^\s:]+:\S+)"),
    (("secure_link",), rf"\bsecure_link_(?:secret|md5)\s+{_ONE}"),
    (
        ("bindpassword", "clientsecret", "passphrase", "authbasicfake", "auth-pass"),
        rf"\b(?:AuthLDAPBindPassword|\w*ClientSecret|\w*CryptoPassphrase|AuthBasicFake\s+\S+|auth-pass)\s+{_ONE}",
    ),
    # The credentials of Envoy's api_key_auth, in either order.
    (("client",), rf"\bkey[\"']?\s*:\s*{_ONE}\s*,\s*[\"']?client[\"']?\s*:"),
    (("client",), rf"\bclient[\"']?\s*:\s*(?:\"[^\"]*\"|'[^']*'|[^\s,}}]+)\s*,\s*[\"']?key[\"']?\s*:\s*{_ONE}"),
    (("jwt_verify",), r"\bjwt_verify\([^,]*,\s*(?P<values>[^)]+)\)"),
    (("hmac(",), r"\bhmac\([^,]*,\s*(?P<values>[^),]+)"),
    (("aes_gcm",), r"\baes_gcm_\w+\([^,]*,[^,]*,\s*(?P<values>[^),]+)"),
    ((":",), r"(?<![\w.@:-])[\w.@-]++:[\w. -]++:(?P<values>[0-9a-f]{32})\b"),  # htdigest
    (("auth.users",), r"\b(?:basicauth|digestauth)\.users\s*=\s*(?P<values>[^\"'`\s]+)"),
    (("env",), rf"\benv\s+\w+=(?P<values>{_VALUE})"),
    (("'", '"'), r"[\"'](?:k|d|p|q|dp|dq|qi)\\?[\"']\s*:\s*\\?[\"'](?P<values>[A-Za-z0-9_=-]{6,})"),
)
_SCHEME: _Pattern = (
    tuple(sorted(SCHEMES)),
    rf"\b(?:{'|'.join(sorted(SCHEMES))})(?:\\?[ \t]+|%20|\+)(?P<values>{_WORD}+)",
)
_AFTER_SCHEME = frozenset(
    "auth authentication authorization realm access login token tokens header headers user users scheme credentials "  # noqa: SIM905  they read as words
    "prefix only required is and or to for with the".split()
)
_HIDDEN_NAMES = ("auth", "session", "cookie", "key", "token", "secret", "passw", "bearer")
_LITERAL_OF: _Pattern = (
    ("str",),
    rf"\b(?:str\((?P<values>[^()]{{4,}})\)|-m\s+(?:str|beg|end|sub)\s+(?:-i\s+)?(?P<compared>{_VALUE}))",
)
_CONFIG_KEY = (
    r"(?:[\w.-]*(?:passw(?:or)?d|passphrase|_pwd|secret|api_?key|api-key|private_?key|access_?key|signing_?key"
    r"|encryption_?key|credential|bearer)|(?:[\w.-]*[_.-])?token|(?:[\w.-]*\.)?(?:proxy-)?authorization"
    r"|(?:[\w.-]*\.)?(?:set-)?cookie|(?:[\w.]*\.)?x-[\w-]+|(?-i:[A-Z][A-Z0-9_]*(?:TOKEN|KEY|SECRET|PASS|AUTH|PWD)[A-Z0-9_]*)"
    r"|inline_?string|inline_?bytes)"
)
_SIGNED: _Pattern = (
    (":", "="),
    (
        rf"(?<![\w.$%@/-])(?P<quote>[\"']?)(?P<name>{_CONFIG_KEY})(?P=quote)\s*+(?P<sign>[:=])"
        r"(?:(?<=:)\\?\s*+|(?<==)\s*+)(?=(?P<values>\S{1,80}))"  # a value may be a mapping with further names in it
    ),
)
_FORWARDED = ("x-forwarded-", "x-real-", "x-request-id", "x-content", "x-frame", "x-xss", "x-powered", "x-robots")
_FILES = r"(?:file|path|name|uri|url|endpoint|header|headers|type|ttl|duration|zone|timeout)s?$"

# What a value may say without telling a secret.
_REFERENCE = (
    r"%\[[^\]]*\]|%\{[^}]*\}\w?|%[A-Z_]+(?:\([^)]*\))?(?::\d+)?%|\$\{[^}]*\}|\{[^{}]*\}|\$\w+|<[\w ./-]+>|\\\d"
    r"|\(\.[*+]\)"
)
_FIXED = frozenset(
    "on off true false yes no none null nil always upgrade websocket close keep-alive default env expr early unset "  # noqa: SIM905  they read as words
    "str beg end sub reg dir dom found len bool int ip bin m i append".split()
)
_LITERAL = r"[A-Za-z0-9+/_=~.!@#*&^%-]{3,}"
_FILE = r"(?:/[\w.-]+)+\.(?:pem|key|crt|txt|json|conf|htpasswd|lua|js)|/(?:etc|run|var|usr|opt|srv|home)/\S*"
_DURATION = r"\d{1,4}(?:ms|[smhdkg]|[km]b)?"
_BLOCK_KEY = r"(\s*)[\"']?(?:- )?[\"']?(\w+)[\"']?\s*:\s*[|>][+-]?\d?\s*"
_REFERS = lazy(r"\s*\w+\s+[\w-]+\s+(?:\"\"|\"?\$[a-z_]\w*\"?)\s*;?\s*")
"""A directive whose value is a variable, or nothing: what most lines about a credential look like."""

_LEAVES = (Line, Timeout, Unknown, Limit)
_SUSPECT = tuple(
    "passw pwd passphrase auth-pass secret token key auth cookie sess credential bearer basic ticket jwt signature "  # noqa: SIM905  they read as words
    "csrf xsrf hmac saml assertion oidc principal clientcert client-cert user otp inline setenv "
    "secure_link define @ eyj jdj $apr1 $1$ $2 $5$ $6$ $y$ {sha {ssha".split()
)
_SUSPECT_SHAPE = lazy(r"(?i:\benv\s|:[0-9a-f]{32})|PASS|[\"'](?:k|d|p|q|dp|dq|qi)\\?[\"']|\?[^\s?=]++=")
"""What a line must have for a search to be worth its time; is_secret_name has the same words."""


def _may_hold(line: str) -> bool:
    lowered = line.lower()
    suspect = any(word in lowered for word in _SUSPECT) or _SUSPECT_SHAPE.search(line)
    return bool(suspect) and not _REFERS.fullmatch(line)


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


def _matches(pattern: _Pattern, line: str) -> Iterator[re.Match[str]]:
    needles, source = pattern
    lowered = line.lower()
    return _compiled(source).finditer(line) if any(needle in lowered for needle in needles) else iter(())


def find(line: str, *, prose: bool = False) -> list[Span]:
    """The secrets in one line of a config, in their order and without overlap.

    `prose` says that it is a text about one, in which words that follow the name of a header are words.
    """
    return _disjoint(_found(line, prose=prose)) if _may_hold(line) else []


def values(text: str) -> Iterator[str]:
    """All secrets of a whole file, also those that run over several lines."""
    if "PRIVATE KEY-----" in text:
        for match in re.finditer(_PEM, text, re.DOTALL):
            yield from re.findall(_PEM_LINE, match[1])
    lines = text.split("\n")
    clean: set[str] = set()  # a config of many lines says most of them again and again
    for number, line in enumerate(lines):
        if len(line) <= 3 or line in clean:
            continue
        if not _may_hold(line):
            clean.add(line)
        else:
            yield from (line[span.start : span.end] for span in _disjoint(_found(line)))
            yield from _block(lines, number)
            yield from _users(lines, number)
            yield from _beside(line, lines[number + 1 : number + 4])


def of_model(config: Config) -> Iterator[str]:
    """The literals that a config sets for headers with a secret in them, or compares them with."""
    seen: set[int] = set()
    waiting: list[object] = [config]
    while waiting:
        part = waiting.pop()
        if id(part) in seen:  # routes share most of what they are made of
            continue
        seen.add(id(part))
        kind: type = type(part)
        if isinstance(part, tuple):
            waiting += part
        elif names := _names(kind):
            if kind in (Edit, Test):
                yield from _literals(part)
            waiting += [getattr(part, name) for name in names]


@cache
def _names(kind: type) -> tuple[str, ...]:
    """The fields of a part of the model that other parts can be in."""
    return tuple(field.name for field in fields(kind)) if is_dataclass(kind) and kind not in _LEAVES else ()


def harmless(value: str) -> bool:
    """Whether a value tells no secret: references, fixed words, paths of files and short numbers."""
    rest = re.sub(_REFERENCE, " ", value).strip(" \t\"'`,;()[]^$")
    if not rest or _compiled(_DURATION).fullmatch(rest) or _compiled(_FILE).fullmatch(rest):
        return True
    words = _compiled(_LITERAL).findall(rest)
    return all(word.lower().strip("=:-.") in _FIXED or word.lower() in SCHEMES for word in words)


def _disjoint(spans: Iterator[Span]) -> list[Span]:
    found: list[Span] = []
    for span in sorted(spans, key=lambda span: (span.start, -span.end)):
        if found and span.start < found[-1].end:
            found[-1] = found[-1]._replace(end=max(found[-1].end, span.end))
        elif span.end > span.start:
            found.append(span)
    return found


def _found(line: str, *, prose: bool = False) -> Iterator[Span]:
    for match in _matches(_HASH, line):
        yield Span(*match.span(), "hash of a password")
    yield from find_tokens(line)
    for pattern in _KEYED:
        for match in _matches(pattern, line):
            if not prose or not is_prose(match["values"]):
                yield from _told(line, match, "password")
    for pattern in (*_NAMED, _PAIR):
        for match in _matches(pattern, line):
            if is_secret_name(match["name"].replace("_", "-")):
                yield from _told(line, match, match["name"])
    yield from _in_words(line, prose=prose)


def _in_words(line: str, *, prose: bool) -> Iterator[Span]:
    """What follows a scheme, or a name and a sign: here a text about a config has words, and a config has values."""
    for match in _matches(_SCHEME, line):
        word = match["values"].strip("\"'`,.;:")
        # As a value a scheme is written with a capital; in a comment words follow it.
        spoken = prose or "#" in line[: match.start()]
        if not is_prose(word) or (match[0][0].isupper() and not spoken and word.lower() not in _AFTER_SCHEME):
            yield from _told(line, match, "credentials")
    if any(word in line.lower() for word in _HIDDEN_NAMES):
        for match in _matches(_LITERAL_OF, line):
            yield from _told(line, match, "credentials")
    end = 0
    for match in _matches(_SIGNED, line):
        if match.start() >= end and not (prose and is_prose(match["values"])):
            end = yield from _signed(line, match)


def _told(line: str, match: re.Match[str], name: str) -> Iterator[Span]:
    """The words of a value, each of which may be a secret or none."""
    start, end = match.span("values" if match["values"] is not None else "compared")
    for word in _compiled(_VALUE).finditer(line, start, end):
        yield from _inside(line, *word.span(), name)


def _inside(line: str, start: int, end: int, name: str) -> Iterator[Span]:
    """What of a word must not be shown: all but its quotes, and the scheme that it begins with."""
    while start < end and line[start] in "\"'`(":
        start += 1
    while start < end and line[end - 1] in "\"'`),;":
        end -= 1
    text = line[start:end]
    if harmless(text):
        return
    scheme, space, rest = text.partition(" ")
    if space and scheme.rstrip("\\").lower() in SCHEMES and rest.strip():
        start += len(scheme) + len(space) + len(rest) - len(rest.lstrip())
    yield Span(start, end, name)


def _signed(line: str, match: re.Match[str]) -> Generator[Span, None, int]:
    """`name: value`, `name = value`: in YAML the rest of the line, elsewhere one word. Returns where that ends."""
    name, start = match["name"], match.start("values")
    last = name.rpartition(".")[2].lower()
    dashed = last.startswith("x-")
    if _compiled(_FILES).search(last) or (dashed and (not is_secret_name(last) or last.startswith(_FORWARDED))):
        return start
    if line[start] == "[":
        for word in _compiled(r"[\"']([^\"']+)[\"']").finditer(line, start, line.find("]", start) % (len(line) + 1)):
            yield from _inside(line, *word.span(1), name)
    if line[start] in "{[&*|>" and not line.startswith("{SHA", start):
        return start
    if line[start] in "\"'`" or match["quote"] or match["sign"] == "=":
        found = _compiled(_VALUE).match(line, start)
        end = found.end() if found else start
        if line[start:end].lower() in SCHEMES:
            end = _until(r"[\"'`]", line, start)
    else:
        end = _until(r"\s#|[,}](?:\s|$)|[\"'`]", line, start)
    if last.startswith("inline") and re.search(r"\s|^[\"']*\{", line[start:end].strip()):
        return end  # a script, a page, or keys, of which the secret parts have names
    yield from _inside(line, start, end, name)
    return end


def _until(pattern: str, line: str, start: int) -> int:
    """Where the text from `start` on ends: before what ends it, without the space in front of that."""
    found = _compiled(pattern).search(line, start)
    return start + len(line[start : found.start() if found else len(line)].rstrip())


def _block(lines: list[str], number: int) -> Iterator[str]:
    """The lines of a YAML block scalar under the name of a secret."""
    begins = re.fullmatch(_BLOCK_KEY, lines[number]) if lines[number].rstrip()[-2:-1] in {":", " ", "|", ">"} else None
    if not begins or not _compiled(_CONFIG_KEY).fullmatch(begins[2]):
        return
    for line in lines[number + 1 : number + 200]:
        if line.strip() and len(line) - len(line.lstrip()) <= len(begins[1]):
            return
        if len(line.strip()) > 3 and not harmless(line.strip()):
            yield line.strip()


def _users(lines: list[str], number: int) -> Iterator[str]:
    """What follows the names of users in a list under `users`, whatever their hashes look like."""
    begins = re.search(r"\busers[\"']?\s*[:=]", lines[number])
    if not begins:
        return
    indent = len(lines[number]) - len(lines[number].lstrip())
    for at, line in enumerate((lines[number][begins.end() :], *lines[number + 1 : number + 200])):
        bare = line.lstrip()
        if at and bare and len(line) - len(bare) <= indent and not bare.startswith(("-", "'", '"')):
            return
        yield from (match[1] for match in re.finditer(r"(?:^|[\s\"',=\[-])[\w.@]+:([^\s\"',\]]{4,})", line))


def _beside(line: str, following: list[str]) -> Iterator[str]:
    """The value of `key: authorization` where it stands on one of the next lines."""
    if ":" not in line or not any(word in line.lower() for word in _PAIR[0]):
        return
    joined = " ".join((line.strip(), *(each.strip() for each in following)))
    for match in _matches(_PAIR, joined.replace("string_match:", "").replace("header:", "")):
        if is_secret_name(match["name"]):
            yield from (match.string[span.start : span.end] for span in _told(match.string, match, match["name"]))


def _literals(part: object) -> Iterator[str]:
    match part:
        case Edit(which=Named(names=names), op=op, value=value) if op is not Op.RENAME:
            if any(map(is_secret_name, names)):
                yield from _texts(value)
        case Test(value=value, how=how, texts=texts):
            while not isinstance(value, Of) and (inner := getattr(value, "value", None)):
                value = inner
            secret = isinstance(value, Of) and (value.subject is Subject.COOKIE or is_secret_name(value.name))
            if secret and how in {How.EQUALS, How.PREFIX, How.SUFFIX, How.CONTAINS}:
                yield from (bare for text in texts for bare in _bare(text))


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, Text):
        yield from _bare(value.text)
    elif isinstance(value, tuple):
        for each in value:
            yield from _texts(each)
    elif is_dataclass(value) and not isinstance(value, Test):
        for field in fields(value):
            yield from _texts(getattr(value, field.name))


def _bare(text: str) -> Iterator[str]:
    """A literal without its scheme, if it tells anything."""
    if not harmless(text):
        scheme, space, rest = text.partition(" ")
        yield rest.strip() if space and scheme.lower() in SCHEMES else text
