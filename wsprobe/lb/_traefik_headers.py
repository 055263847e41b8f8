"""Traefik's headers middleware: custom headers, CORS, and what guards a site."""

import re
from collections import Counter

from wsprobe.lb._traefik_chain import Chain
from wsprobe.lb._traefik_proxy import APART, IS_SECURE
from wsprobe.lb._traefik_tree import Setting
from wsprobe.lb.expressions import How, Not, Of, OneOf, Subject, Test, Text, Undecided, Value, both, has, header
from wsprobe.lb.model import Answer, Edit, Named, Op
from wsprobe.parts import Line

_CORS = (
    "accessControlAllowCredentials",
    "accessControlAllowHeaders",
    "accessControlAllowMethods",
    "accessControlAllowOriginList",
    "accessControlAllowOriginListRegex",
    "accessControlAllowOrigin",
    "accessControlExposeHeaders",
    "accessControlMaxAge",
    "addVaryHeader",
)
_RESPONSE = {
    "frameDeny": "X-Frame-Options",
    "customFrameOptionsValue": "X-Frame-Options",
    "contentTypeNosniff": "X-Content-Type-Options",
    "browserXssFilter": "X-XSS-Protection",
    "customBrowserXSSValue": "X-XSS-Protection",
    "contentSecurityPolicy": "Content-Security-Policy",
    "contentSecurityPolicyReportOnly": "Content-Security-Policy-Report-Only",
    "referrerPolicy": "Referrer-Policy",
    "permissionsPolicy": "Permissions-Policy",
    "featurePolicy": "Feature-Policy",
    "stsSeconds": "Strict-Transport-Security",
    "publicKey": "Public-Key-Pins",
    "accessControlAllowCredentials": "Access-Control-Allow-Credentials",
    "accessControlAllowOriginList": "Access-Control-Allow-Origin",
    "accessControlAllowOriginListRegex": "Access-Control-Allow-Origin",
    "accessControlExposeHeaders": "Access-Control-Expose-Headers",
    "addVaryHeader": "Vary",
}
_OTHER = (
    "customRequestHeaders",
    "customResponseHeaders",
    "allowedHosts",
    "hostsProxyHeaders",
    "sslRedirect",
    "sslTemporaryRedirect",
    "sslHost",
    "sslForceHost",
    "sslProxyHeaders",
    "stsIncludeSubdomains",
    "stsPreload",
    "forceSTSHeader",
    "isDevelopment",
)
_PREFLIGHT = both(
    Test(Of(Subject.METHOD), How.EQUALS, ("OPTIONS",)),
    Test(header("Origin"), How.REGEX, (".",)),
    Test(header("Access-Control-Request-Method"), How.REGEX, (".",)),
)


def headers(setting: Setting, chain: Chain) -> None:
    """What a headers middleware does, in Traefik's order: CORS, custom headers, then the checks of a site."""
    chain.unknown_fields(setting, (*_CORS, *_RESPONSE, *_OTHER))
    cors = next((found for name in _CORS if (found := setting.get(name)) and not _off(found)), None)
    if cors:
        why = "the headers middleware answers CORS preflight requests"
        chain.steps.append(Answer(status=200, why=why, when=_PREFLIGHT, place=cors.place))
    _custom(setting, chain)
    _checks(setting, chain)
    for name, written in _RESPONSE.items():
        found = setting.get(name)
        if found and not _off(found):
            chain.response.append(_ignored(written, Undecided("", "it depends on options"), found.place))


def _off(setting: Setting) -> bool:
    return setting.empty or (setting.text or "").lower() in {"false", "0"}


def _custom(setting: Setting, chain: Chain) -> None:
    requests = setting.under("customRequestHeaders")
    spelled = Counter(each.name.lower() for each in requests)
    for each in requests:
        if spelled[each.name.lower()] > 1:
            value: Value = Undecided(each.name, "the header is named in several spellings, whose order changes")
            chain.steps.append(Edit(op=Op.SET, which=Named((each.name,)), value=value, place=each.place))
        else:
            _request(each, chain)
    for each in setting.under("customResponseHeaders"):
        chain.response.append(_ignored(each.name, each.value, each.place))


def _request(each: Setting, chain: Chain) -> None:
    """One line of customRequestHeaders; without a value it removes the header."""
    if each.text is None:
        chain.notes.append(f"{each.name} in customRequestHeaders says nothing; removing takes an empty text")
        return
    removes = not each.text and not each.unsure
    lowered = each.name.lower()
    if lowered in {name.lower() for name in APART} and (removes or lowered != "host"):
        chain.notes.append(f"{each.name} in customRequestHeaders does nothing")
        return
    if lowered == "x-forwarded-for":
        # Removed in this spelling, it is not added again at the end; in another one it is (golang.org/issue/38079).
        chain.appended = not (removes and each.name == "X-Forwarded-For")
    if removes:
        chain.steps.append(Edit(op=Op.REMOVE, which=Named((each.name,)), place=each.place))
    else:
        value: Value = each.value if each.unsure else Text(each.text.strip())
        if re.search(r"[\x00-\x08\x0a-\x1f\x7f]", each.text.strip()):
            chain.steps.append(
                Answer(status=500, why=f"the value of {each.name} is none of a header", place=each.place)
            )
        chain.steps.append(Edit(op=Op.SET, which=Named((each.name,)), value=value, place=each.place))


def _ignored(name: str, value: Value, place: Line) -> Edit:
    """An edit of the response, which does not reach a 101."""
    return Edit(op=Op.SET, which=Named((name,)), value=value, drop_empty=True, place=place, effective=False)


def _checks(setting: Setting, chain: Chain) -> None:
    hosts = setting.texts("allowedHosts")
    if setting.flag("isDevelopment"):
        return
    if hosts:
        place = setting.words("allowedHosts")[0].place
        chain.steps.append(_allowed(hosts, setting.texts("hostsProxyHeaders"), place))
    redirect = setting.get("sslRedirect")
    if redirect and setting.flag("sslRedirect"):
        if chain.version >= 3:
            chain.notes.append("sslRedirect has no effect since v3")
            return
        status = 307 if setting.flag("sslTemporaryRedirect") else 301
        proxied = [Test(header(each.name), How.EQUALS, (each.text or "",)) for each in setting.under("sslProxyHeaders")]
        plain = Not(OneOf((IS_SECURE, *proxied))) if not chain.tls else OneOf()
        chain.steps.append(Answer(status=status, why="sslRedirect", when=plain, place=redirect.place))


def _allowed(hosts: list[str], proxied: list[str], place: Line) -> Answer:
    fits = Test(Of(Subject.AUTHORITY), How.EQUALS, tuple(hosts), ignore_case=True)
    why = "allowedHosts does not name the host"
    if not proxied:
        return Answer(status=500, why=why, when=Not(fits), place=place)
    told = OneOf(tuple(has(name) for name in proxied))
    unsure = both(told, Undecided("hostsProxyHeaders", "the host is taken from a header"))
    return Answer(status=500, why=why, when=OneOf((both(Not(told), Not(fits)), unsure)), place=place)
