"""Whose word Envoy takes for the address of the client, and whether it adds the one that it sees itself."""

from collections.abc import Iterator
from http import HTTPStatus

from wsprobe.frozen import dataclass
from wsprobe.lb._envoy_proto import extension, flag, get, number, text, under
from wsprobe.lb._yaml import Node
from wsprobe.lb.expressions import (
    ALWAYS,
    NEVER,
    Cases,
    Condition,
    How,
    Lines,
    Not,
    Of,
    Piece,
    Subject,
    Substituted,
    Test,
    Undecided,
    Value,
    both,
)
from wsprobe.lb.model import Answer

_UNTRUSTED = (1, 33)  # before, private addresses were internal where nothing was configured
_PRIVATE = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.1/32", "::1/128", "fd00::/8")
_ADDRESSES = ("0.0.0.0/0", "::/0")
_PEER = Of(Subject.PEER)


@dataclass(frozen=True, slots=True)
class Trust:
    """Whom a connection manager believes: `client` is the address that it takes for the client's."""

    client: Value
    internal: Condition
    edge: bool


def trust(hcm: Node, version: tuple[int, int]) -> Trust:
    """Whom a connection manager believes."""
    networks = _networks(hcm, version)
    if flag(hcm, "use_remote_address"):
        hops = number(hcm, "xff_num_trusted_hops") or 0
        return _listed(hops - 1, networks, edge=True) if hops else _direct(networks)
    detecting = [extension(each) for each in under(hcm, "original_ip_detection_extensions")]
    if not detecting:
        return _listed(number(hcm, "xff_num_trusted_hops") or 0, networks, edge=False)
    only = detecting[0]
    if len(detecting) == 1 and only.kind == "custom_header":
        value = _own(only.config)
        told = Test(value, How.NETWORK, _ADDRESSES)
        believes = flag(only.config, "allow_extension_to_set_address_as_trusted") and networks
        return Trust(
            Cases(((told, value),), _PEER), Test(value, How.NETWORK, networks) if believes else NEVER, edge=False
        )
    if len(detecting) == 1 and only.kind == "xff" and get(only.config, "xff_trusted_cidrs") is None:
        return _listed(number(only.config, "xff_num_trusted_hops") or 0, networks, edge=False)
    open_ = Undecided("", "an extension tells the client's address")
    return Trust(open_, open_ if networks else NEVER, edge=False)


def _forwarded() -> Of:
    return Of(Subject.HEADER, "x-forwarded-for", original=True, lines=Lines.JOINED, separator=",")


def _direct(networks: tuple[str, ...]) -> Trust:
    """Nobody but the peer is believed."""
    inside = both(Not(Test(_forwarded(), How.EXISTS)), Test(_PEER, How.NETWORK, networks)) if networks else NEVER
    return Trust(_PEER, inside, edge=True)


def _listed(place: int, networks: tuple[str, ...], *, edge: bool) -> Trust:
    """The address at that place from the end of X-Forwarded-For, or the peer where there is none."""
    forwarded = _forwarded()
    listed: Value = Substituted(Piece(forwarded, ",", -1 - place), r"\A\s+|\s+\Z", "", all=True)
    client = Cases(((Test(listed, How.NETWORK, _ADDRESSES), listed),), _PEER)
    if not networks:
        return Trust(client, NEVER, edge)
    single = Not(Test(forwarded, How.EXISTS)) if edge else Not(Test(forwarded, How.CONTAINS, (",",)))
    known = ALWAYS if edge else Test(listed, How.NETWORK, _ADDRESSES)
    return Trust(client, both(single, known, Test(client, How.NETWORK, networks)), edge)


def _networks(hcm: Node, version: tuple[int, int]) -> tuple[str, ...]:
    internal = get(hcm, "internal_address_config")
    if internal is None:
        return () if version >= _UNTRUSTED else _PRIVATE
    return tuple(
        f"{text(each, 'address_prefix')}/{number(each, 'prefix_len') or 0}" for each in under(internal, "cidr_ranges")
    )


def _own(config: Node | None) -> Of:
    """The header that an extension reads the address of the client from."""
    return Of(Subject.HEADER, text(config, "header_name").lower(), original=True)


def appends(hcm: Node) -> Node | None:
    """The setting that has the address of the peer appended to X-Forwarded-For."""
    edge = get(hcm, "use_remote_address")
    if edge is not None and edge.boolean:
        return None if flag(hcm, "skip_xff_append") else edge
    for each in under(hcm, "original_ip_detection_extensions"):
        skips = get(extension(each).config, "skip_xff_append")
        if skips is not None and skips.boolean is False:
            return skips
    return None


def refusals(hcm: Node) -> Iterator[Answer]:
    """An extension may refuse who does not tell the client's address."""
    for each in under(hcm, "original_ip_detection_extensions"):
        config = extension(each).config
        if rejects := get(config, "reject_with_status"):
            untold = Not(Test(_own(config), How.NETWORK, _ADDRESSES))
            why = "the header with the client's address is missing"
            yield Answer(status=_status(text(rejects, "code")), why=why, when=untold, place=rejects.place)


def _status(code: str) -> int:
    """A status as a number or by its name (`NotFound`); Envoy takes none below 400."""
    names = {status.phrase.replace(" ", ""): status.value for status in HTTPStatus}
    status = int(code) if code.isdigit() else names.get(code, 0)
    return status if status >= HTTPStatus.BAD_REQUEST else HTTPStatus.FORBIDDEN.value
