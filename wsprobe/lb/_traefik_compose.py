"""Traefik's labels on the services of a compose file, and the flags of its own service there as static config."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from wsprobe.inspection import Unknown
from wsprobe.lb._traefik_files import dynamic, static
from wsprobe.lb._traefik_routers import DEFAULT_HOST, Reading
from wsprobe.lb._traefik_tree import Growing, Setting
from wsprobe.lb.source import Source
from wsprobe.model import Line

PROVIDER = "docker"

_VARIABLE = re.compile(r"\$\$|\$\{[^}]*\}|\$[A-Za-z_]\w*")
_IMAGE = re.compile(r"(?:^|/)traefik(?::v?([0-9]+(?:\.[0-9]+)*)[\w.-]*)?(?:@.*)?$")
_UNSURE = "it has a variable of the environment"
_TEMPLATE = "it has a placeholder of a template"


@dataclass(frozen=True, slots=True)
class Word:
    """A label or a flag: its key, its value, and where it stands."""

    key: str
    text: str
    place: Line
    unsure: str = ""


def read(root: Setting, source: Source, reading: Reading, version: str | None) -> str | None:
    """Takes in a compose file for that version; gives the one that its own image tells."""
    told = None
    services = root.under("services")
    flags = Growing("command", root.place)
    for service in services:
        image = _IMAGE.search(service.word("image"))
        if image:
            told = image[1] or told
            _flags(service, flags, reading)
    if version is None and told and told.partition(".")[0] in {"1", "2"}:
        reading.version, reading.syntax = int(told[0]), "v2"
    configured = flags.grown()
    if configured.fields:
        _static(configured, source, reading)
    docker = configured.get("providers", PROVIDER)
    exposes = docker.flag("exposedByDefault", default=True) if docker else True
    usual = bool(docker) and not (docker and docker.get("defaultRule"))
    for service in services:
        words = list(_labels(service))
        if words:
            _container(service, words, reading, exposes=exposes, usual=usual)
    if docker and exposes:
        why = "with exposedByDefault, those without labels have routers too, by the default rule"
        reading.unread.append(Unknown(what="services without labels", why=why, place=docker.place))
    return told


def _static(configured: Setting, source: Source, reading: Reading) -> None:
    """The flags as static config; the files that they name lie in a container."""
    providers = configured.get("providers")
    within = providers.get("file") if providers else None
    if providers and within:
        others = {name: each for name, each in providers.fields.items() if name.lower() != "file"}
        fields = {**configured.fields, providers.name: replace(providers, fields=others)}
        configured = replace(configured, fields=fields)
        why = "the files lie in a container: look at them by themselves"
        reading.unread.append(Unknown(what="providers.file", why=why, place=within.place))
    static(configured, source, reading)
    reading.scope.whole -= {"file"}
    ours = {each.what for each in reading.unread if each.what.lower() == f"providers.{PROVIDER}"}
    reading.unread = [each for each in reading.unread if each.what not in ours]


def _flags(service: Setting, flags: Growing, reading: Reading) -> None:
    command = service.get("command")
    if command is None:
        return
    words = command.items or tuple(replace(command, text=word) for word in (command.text or "").split())
    for word in words:
        if not (word.text or "").startswith("--"):
            continue
        key, equals, value = (word.text or "")[2:].partition("=")
        if key.lower() == "configfile":
            why = "the file lies in a container: look at it by itself"
            reading.unread.append(Unknown(what="the static config", why=why, place=word.place))
            continue
        made = _word(key, value.strip("\"'") if equals else "true", word.place)
        flags.put(made.key, made.text, made.place, made.unsure)


def _labels(service: Setting) -> Iterator[Word]:
    """The labels for Traefik, of a list or a mapping, `traefik.` left out."""
    for labels in (service.get("labels"), service.get("deploy", "labels")):
        if labels is None:
            continue
        for item in labels.items:
            key, _, value = (item.text or "").partition("=")
            if key.strip().lower().startswith("traefik."):
                yield _word(key.strip(), value, item.place)
        for key, field in labels.fields.items():
            if key.lower().startswith("traefik."):
                yield _word(key, field.text or "", field.place)


def _word(key: str, text: str, place: Line) -> Word:
    """A word with its variables named: `$$` is a dollar sign, everything else of a dollar sign a variable."""
    variables = [found for found in _VARIABLE.findall(text) if found != "$$"]
    unsure = _UNSURE if variables else _TEMPLATE if "{{" in text or "{%" in text else ""
    return Word(key, text if variables else text.replace("$$", "$"), place, unsure)


def _container(service: Setting, words: list[Word], reading: Reading, *, exposes: bool, usual: bool) -> None:
    """The routers, middlewares and services of one service's labels; `usual` is whether the default rule is known."""
    grown = Growing("labels", words[0].place)
    for word in words:
        grown.put(word.key.partition(".")[2], word.text, word.place, word.unsure)
    tree = grown.grown()
    if not tree.flag("enable", default=exposes):
        return
    http = tree.get("http")
    balancers = {each.name: _balancer(service, each) for each in tree.under("http", "services")}
    balancers = balancers or {service.name: _balancer(service, Setting(service.name, words[0].place))}
    routers = tree.under("http", "routers")
    if not routers and not tree.get("tcp") and not tree.get("udp") and len(balancers) == 1:
        routers = [Setting(service.name, words[0].place)]
    host = f"{service.name.lower()}-" if usual else ""
    made = {each.name: _router(each, balancers, reading, host) for each in routers}
    fields = {
        **(http.fields if http else {}),
        "routers": Setting("routers", tree.place, fields={name: each for name, each in made.items() if each}),
        "services": Setting("services", tree.place, fields=balancers),
    }
    whole = {**tree.fields, "http": Setting("http", tree.place, fields=fields)}
    dynamic(replace(tree, fields=whole), reading, PROVIDER)


def _router(router: Setting, balancers: dict[str, Setting], reading: Reading, host: str) -> Setting | None:
    """A router with what the provider adds to it: the container's service, and the default rule for that host."""
    fields = dict(router.fields)
    if router.get("service") is None:
        if len(balancers) > 1:
            reading.problem(router.place, f"the router {router.name} names none of the container's services")
            return None
        fields["service"] = Setting("service", router.place, next(iter(balancers)))
    if router.get("rule") is None:
        why = "it is the default rule, which is made from the name of the container"
        fields["rule"] = Setting("rule", router.place, "the default rule", unsure=why)
        fields[DEFAULT_HOST] = Setting(DEFAULT_HOST, router.place, host)
    return replace(router, fields=fields)


def _balancer(service: Setting, named: Setting) -> Setting:
    """A service whose server is the container."""
    balancer = named.get("loadBalancer") or Setting("loadBalancer", named.place)
    server = balancer.get("server")
    url = server.get("url") if server else None
    if url is None:
        port = server.get("port") if server else None
        scheme = server.word("scheme") if server else ""
        address = f"{scheme or 'http'}://{service.name}{f':{port.text}' if port else ''}"
        at = port or server or balancer
        url = Setting("url", at.place, address, unsure=port.unsure if port else "")
    fields = {"url": url, "container": Setting("container", url.place, "true")}
    servers = Setting("servers", url.place, items=(Setting("", url.place, fields=fields),))
    kept = {name: each for name, each in balancer.fields.items() if name.lower() != "server"}
    return Setting(
        named.name, named.place, fields={"loadBalancer": replace(balancer, fields={**kept, "servers": servers})}
    )
