"""Who is let in: Require and its containers, Order with Allow and Deny, and the modules that authenticate."""

import ipaddress
from dataclasses import dataclass, replace

from wsprobe.lb._apache_expr import condition
from wsprobe.lb._apache_grammar import Node
from wsprobe.lb._apache_values import all_of, env
from wsprobe.lb.expressions import (
    ALWAYS,
    NEVER,
    Condition,
    How,
    Not,
    Of,
    OneOf,
    Subject,
    Test,
    Text,
    Undecided,
)
from wsprobe.lb.model import Answer, Assign, Effect, Gate, Step

_CONTAINERS = {"requireall", "requireany", "requirenone"}
NAMES = {"require", "order", "allow", "deny", "authtype", "satisfy", *_CONTAINERS}
_USERS = {"valid-user", "user", "group", "ldap-user", "ldap-group", "ldap-attribute", "ldap-filter", "dbm-group"}
_PRIVATE = ("127.0.0.0/8", "::1")


Layers = list[tuple[Condition, list[Node]]]


def steps(layers: Layers) -> list[Step]:
    """The answers and gates of all sections that a request may be in; an inner Require replaces the outer ones."""
    noted, kinds = _in_force("AuthType", layers, {"authtype"})
    made, required = _in_force("Require", layers, {"require", *_CONTAINERS})
    made = [*noted, *made]
    named = [(when, nodes[-1]) for when, nodes in kinds if nodes[-1].first.lower() != "none"]
    for when, rules in required:
        made += _required(rules, when, named)
    if ALWAYS not in {when for when, _ in required}:
        unused = Not(OneOf(tuple(when for when, _ in required)))
        why = "AuthType without Require"
        made += [Answer(status=500, why=why, when=all_of(when, unused), place=node.place) for when, node in named]
    noted, lax = _satisfied_by_any(layers)
    if lax != NEVER:
        made = [
            step if isinstance(step, Assign) else replace(step, when=all_of(step.when, _NOT_LET_IN)) for step in made
        ]
    return [*noted, *_by_address(layers, lax), *made]


_NOT_LET_IN = Not(Test(Of(Subject.VARIABLE, "let in by its address"), How.EXISTS))


def _satisfied_by_any(layers: Layers) -> tuple[list[Step], Condition]:
    """When `Satisfy any` is in force: then an address that Allow lets in needs no user."""
    noted, found = _in_force("Satisfy", layers, {"satisfy"})
    return noted, _one_of([when for when, nodes in found if nodes[-1].first.lower() == "any"])


def _in_force(kind: str, layers: Layers, names: set[str]) -> tuple[list[Step], Layers]:
    """The directives of these names section by section, each with when they count: those of the last that applies."""
    found = [(when, kept) for when, nodes in layers if (kept := [node for node in nodes if node.name in names])]
    always = [number for number, (when, _) in enumerate(found) if when == ALWAYS]
    found = found[always[-1] :] if always else found
    if len(found) < 2:
        return [], found
    name = f"{kind} in force"
    noted: list[Step] = [
        Assign(name=name, value=Text(str(number)), when=when) for number, (when, _) in enumerate(found)
    ]
    counts = Of(Subject.VARIABLE, name)
    return noted, [(Test(counts, How.EQUALS, (str(number),)), nodes) for number, (_, nodes) in enumerate(found)]


def _required(rules: list[Node], when: Condition, kinds: list[tuple[Condition, Node]]) -> list[Step]:
    """The Require directives of one section."""
    granted = _any(rules)
    place = rules[0].place
    if not any(_asks_for_user(rule) for rule in rules):
        if granted == ALWAYS:
            return []
        refused = Not(granted) if granted != NEVER else ALWAYS
        return [Answer(status=403, why="Require is not fulfilled", when=all_of(when, refused), place=place)]
    alone = _any_without_user(rules)
    made: list[Step] = []
    if alone.denied != NEVER:
        why = "Require is not fulfilled, whoever asks"
        made.append(Answer(status=403, why=why, when=all_of(when, alone.denied), place=place))
    needed = all_of(Not(alone.granted), Not(alone.denied))
    made += [_gate(node, all_of(when, held, needed)) for held, node in kinds]
    if ALWAYS not in {held for held, _ in kinds}:
        unset = all_of(when, needed, *(Not(held) for held, _ in kinds))
        why = "Require asks for a user, and no AuthType says how"
        made.append(Answer(status=500, why=why, when=unset, place=place))
    return made


@dataclass(frozen=True, slots=True)
class _Alone:
    """What Require comes to before it is known who asks: where neither holds, the user is asked for."""

    granted: Condition
    denied: Condition


def _without_user(node: Node) -> _Alone:
    if node.body is None and _asks_for_user(node):
        return _Alone(NEVER, NEVER)
    if not _asks_for_user(node):
        held = _granted(node)
        return _Alone(held, NEVER if held == ALWAYS else ALWAYS if held == NEVER else Not(held))
    inner = [each for each in node.body or () if each.name in {"require", *_CONTAINERS}]
    if node.name == "requireany":
        return _any_without_user(inner)
    each = [_without_user(one) for one in inner]
    if node.name == "requireall":
        return _Alone(all_of(*(one.granted for one in each)), _one_of([one.denied for one in each]))
    return _Alone(NEVER, _one_of([one.granted for one in each]))


def _any_without_user(rules: list[Node]) -> _Alone:
    each = [_without_user(rule) for rule in rules]
    return _Alone(_one_of([one.granted for one in each]), all_of(*(one.denied for one in each)))


def _gate(node: Node, when: Condition) -> Gate:
    kind = node.first.lower()
    credentials = Of(Subject.HEADER, "Authorization")
    if kind in {"basic", "digest"}:
        offered = Test(credentials, How.PREFIX, (f"{kind} ",), ignore_case=True)
        passes = all_of(offered, Undecided(node.text, "whether the password is right depends on a secret"))
        return Gate(
            kind=f"AuthType {node.first}",
            header="Authorization",
            effect=Effect.READS,
            passes=passes,
            when=when,
            place=node.place,
        )
    header = "Cookie" if kind in {"form", "openid-connect", "auth_openidc", "mellon"} else "Authorization"
    status = {"form": 401, "openid-connect": 302, "auth_openidc": 302, "mellon": 303}.get(kind, 401)
    why = f"AuthType {node.first[:40]} asks something that is not in the config"
    return Gate(
        kind=f"AuthType {node.first[:40]}",
        header=header,
        effect=Effect.READS,
        passes=Undecided(node.text, why),
        status=status,
        when=when,
        place=node.place,
    )


def _asks_for_user(node: Node) -> bool:
    if node.body is not None:
        return any(_asks_for_user(each) for each in node.body if each.name in {"require", *_CONTAINERS})
    return bool(node.args) and node.args[0].lower() in _USERS | {"claim"}


def _any(rules: list[Node]) -> Condition:
    return _one_of([_granted(rule) for rule in rules])


def _one_of(conditions: list[Condition]) -> Condition:
    if ALWAYS in conditions:
        return ALWAYS
    found = [each for each in conditions if each != NEVER]
    return found[0] if len(found) == 1 else OneOf(tuple(found))


def _granted(node: Node) -> Condition:
    if node.body is not None:
        inner = [each for each in node.body if each.name in {"require", *_CONTAINERS}]
        if node.name == "requireall":
            return all_of(*(_granted(each) for each in inner))
        return Not(_any(inner)) if node.name == "requirenone" else _any(inner)
    args = [arg.lower() for arg in node.args]
    if args[:1] == ["not"]:
        held = _provided(args[1:], node, node.args[1:])
        return Not(held)
    return _provided(args, node, node.args)


def _provided(args: list[str], node: Node, written: tuple[str, ...]) -> Condition:  # noqa: PLR0911  one a provider
    match args:
        case ["all", "granted"]:
            return ALWAYS
        case ["all", "denied"]:
            return NEVER
        case ["ip", *networks]:
            return _in_networks(networks)
        case ["local"]:
            peer = Of(Subject.PEER)
            return OneOf((Test(peer, How.NETWORK, _PRIVATE),))
        case ["env", *_]:
            return OneOf(tuple(Test(env(name), How.EXISTS) for name in written[1:]))
        case ["method", *_]:
            return Test(Of(Subject.METHOD), How.EQUALS, tuple(written[1:]))
        case ["expr", *_]:
            text = node.text.partition(written[0])[2].strip()
            return condition(text[1:-1] if text[:1] in {'"', "'"} and text[-1:] == text[:1] else text)
    return Undecided(node.text, f"Require {args[0] if args else ''} depends on the server that runs")


def _in_networks(networks: list[str]) -> Condition:
    kept = []
    for each in networks:
        try:
            kept.append(str(ipaddress.ip_network(_completed(each), strict=False)))
        except ValueError:
            return Undecided(each, "the address is not understood")
    return Test(Of(Subject.PEER), How.NETWORK, tuple(kept))


def _completed(network: str) -> str:
    """A network as Apache lets it be written: 10.1 for 10.1.0.0/16."""
    parts = network.rstrip(".").split(".")
    if "/" in network or ":" in network or len(parts) == 4 or not all(part.isdigit() for part in parts):
        return network
    return f"{'.'.join([*parts, *['0'] * (4 - len(parts))])}/{8 * len(parts)}"


# Order, Allow, Deny: mod_access_compat.


def _by_address(layers: Layers, lax: Condition) -> list[Step]:
    made, found = _in_force("Order", layers, {"order", "allow", "deny"})
    refused = [(all_of(when, held), nodes[0].place) for when, nodes in found if (held := _refused(nodes)) != NEVER]
    if lax == NEVER:
        strict: Condition = ALWAYS
    else:
        strict = Not(lax)
        let_in = all_of(lax, *(Not(held) for held, _ in refused))
        made.append(Assign(name="let in by its address", value=Text("1"), when=let_in))
    for held, place in refused:
        made.append(Answer(status=403, why="Order, Allow and Deny", when=all_of(strict, held), place=place))
    return made


def _refused(nodes: list[Node]) -> Condition:
    order = next((node.text.replace(" ", "").lower() for node in reversed(nodes) if node.name == "order"), "deny,allow")
    allowed = _listed(nodes, "allow")
    denied = _listed(nodes, "deny")
    if order == "allow,deny":
        if allowed == NEVER:
            return ALWAYS
        return denied if allowed == ALWAYS else OneOf((Not(allowed), denied))
    if allowed == ALWAYS or denied == NEVER:
        return NEVER
    return all_of(denied, Not(allowed)) if allowed != NEVER else denied


def _listed(nodes: list[Node], name: str) -> Condition:
    found: list[Condition] = []
    for node in nodes:
        if node.name == name:
            found += [_from(word) for word in node.args[1:]]
    if ALWAYS in found:
        return ALWAYS
    return OneOf(tuple(found)) if found else NEVER


def _from(word: str) -> Condition:
    if word.lower() == "all":
        return ALWAYS
    if word.lower().startswith("env="):
        name = word[4:]
        held = Test(env(name.removeprefix("!")), How.EXISTS)
        return Not(held) if name.startswith("!") else held
    if word[:1].isdigit():
        return _in_networks([word])
    return Undecided(word, "it is a name, which the server looks up")
