"""Where Envoy's routes lead: clusters with filters and edits of their own, and what they are spoken to in."""

import json
from typing import Any

import pytest

from tests.lb.test_envoy import BEARER, FILTERS, as_json, asked, bootstrap, config, filter_, received
from wsprobe.inspection import Prediction
from wsprobe.lb.predict import predict
from wsprobe.lb.request import upgrade
from wsprobe.parts import Header

REMOVES = {
    "name": "envoy.filters.http.header_mutation",
    "typed_config": {
        "@type": f"{FILTERS}.header_mutation.v3.HeaderMutation",
        "mutations": {"request_mutations": [{"remove": "authorization"}]},
    },
}
OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


def whole(action: dict[str, Any] | None = None, options: dict[str, Any] | None = None, **parts: str) -> dict[str, Any]:
    """A bootstrap with an action of its own, and options of its only cluster."""
    made: dict[str, Any] = as_json(bootstrap(**parts))
    if action:
        manager(made)["route_config"]["virtual_hosts"][0]["routes"][0]["route"] = action
    if options:
        made["static_resources"]["clusters"][0]["typed_extension_protocol_options"] = {OPTIONS: options}
    return made


def manager(made: dict[str, Any]) -> dict[str, Any]:
    """The connection manager of a bootstrap."""
    found: dict[str, Any] = made["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    return found


def sent(made: dict[str, Any], *headers: Header) -> Prediction:
    return predict(config(json.dumps(made)), upgrade("/ws", headers=(BEARER, *headers)))


def weighted(**entry: object) -> dict[str, Any]:
    """An action that leads to one cluster with a weight."""
    return {
        "weighted_clusters": {
            "clusters": [{"weight": 1, **({} if "cluster_header" in entry else {"name": "app"}), **entry}]
        }
    }


# Filters behind the choice of a cluster.


def test_a_filter_of_the_cluster_counts_as_one_before_it() -> None:
    explicit: dict[str, Any] = {"explicit_http_config": {"http_protocol_options": {}}}
    assert "authorization" in received(sent(whole(options=explicit)))
    found = sent(whole(options={**explicit, "http_filters": [REMOVES]}))
    assert "authorization" not in received(found)


def test_a_filter_of_the_router_counts_for_clusters_that_have_none() -> None:
    made = whole()
    manager(made)["http_filters"][-1]["typed_config"]["upstream_http_filters"] = [REMOVES]
    assert "authorization" not in received(sent(made))
    made["static_resources"]["clusters"][0]["typed_extension_protocol_options"] = {
        OPTIONS: {"http_filters": [{"name": "envoy.filters.http.upstream_codec"}]}
    }
    assert "authorization" in received(sent(made))


# Clusters with weights.


def test_a_weighted_cluster_can_be_named_by_a_header() -> None:
    made = whole(weighted(cluster_header="x-cluster"))
    assert sent(made, ("X-Cluster", "app")).reached is True
    assert (sent(made).reached, sent(made).status) == (False, 503)


def test_a_weighted_cluster_comes_first_whatever_wins() -> None:
    def sets(value: str) -> list[dict[str, Any]]:
        return [{"header": {"key": "x-a", "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}]

    made = whole(weighted(request_headers_to_add=sets("cluster"), host_rewrite_literal="canary"))
    route = manager(made)["route_config"]["virtual_hosts"][0]["routes"][0]
    route["request_headers_to_add"] = sets("%REQ(:authority)%")
    for wins in (False, True):
        manager(made)["route_config"]["most_specific_header_mutations_wins"] = wins
        said = received(sent(made))
        assert {name: said.get(name) for name in ("x-a", "host", "x-envoy-original-host")} == {
            "x-a": "canary",
            "host": "canary",
            "x-envoy-original-host": None,
        }


def test_a_weighted_cluster_may_set_filters() -> None:
    jwt = "providers: {p: {issuer: i}}\n              rules: [{match: {prefix: /}, requires: {provider_name: p}}]"
    off = {"envoy.filters.http.jwt_authn": {"@type": "x.config.route.v3.FilterConfig", "disabled": True}}
    action = weighted(typed_per_filter_config=off)
    made = whole(action, filter=filter_("jwt_authn", "JwtAuthentication", jwt))
    assert received(sent(made))["authorization"] == "Bearer x"
    action["weighted_clusters"]["clusters"].append({"name": "app", "weight": 1})
    assert sent(made).reached is None


# What is spoken to them.


@pytest.mark.parametrize(
    ("options", "protocol", "passes"),
    [
        ({"explicit_http_config": {"http_protocol_options": {}}}, "http/1.1", True),
        ({"use_downstream_protocol_config": {"http2_protocol_options": {}}}, "http/1.1", True),
        ({"auto_config": {}}, "unknown", None),
    ],
)
def test_a_protocol_that_is_settled_with_the_upstream_is_not_known(
    options: dict[str, Any], protocol: str, *, passes: bool | None
) -> None:
    made = whole(options=options)
    to = config(json.dumps(made)).listeners[0].routes[0].upstream
    assert to is not None
    assert to.protocol == protocol
    found = sent(made)
    assert ("upgrade" in {unknown.what for unknown in found.unknown}) is not passes


def test_clusters_from_elsewhere_may_speak_anything() -> None:
    made = whole({"cluster": "remote"})
    made["dynamic_resources"] = {"cds_config": {"ads": {}}}
    found = sent(made)
    assert found.reached
    assert received(found)["upgrade"] == "websocket"
    assert "the protocol of the upstream" in {unknown.what for unknown in found.unknown}


# Whose address counts.


DETECTS = "original_ip_detection_extensions: [{{name: x, typed_config: {{'@type': {kind}, {settings}}}}}]"
_PACKAGE = "type.googleapis.com/envoy.extensions.http.original_ip_detection"
CUSTOM = f"{_PACKAGE}.custom_header.v3.CustomHeaderConfig"
TOLD = "request_headers_to_add: [{header: {key: x-told, value: '%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%'}}]"


def test_a_header_of_its_own_may_tell_the_clients_address() -> None:
    option = DETECTS.format(kind=CUSTOM, settings="header_name: CF-Connecting-IP")
    text = bootstrap(option=option, route=TOLD)
    assert received(asked(text, ("CF-Connecting-IP", "9.9.9.9"), ("X-Forwarded-For", "1.1.1.1")))["x-told"] == "9.9.9.9"
    assert not config(text).unread


def test_a_client_whose_address_is_not_told_may_be_refused() -> None:
    settings = "header_name: cf-connecting-ip, reject_with_status: {code: Unauthorized}"
    text = bootstrap(option=DETECTS.format(kind=CUSTOM, settings=settings))
    assert asked(text, ("CF-Connecting-IP", "9.9.9.9")).reached
    assert (asked(text).reached, asked(text).status) == (False, 401)


def test_an_extension_that_is_not_known_leaves_the_address_open() -> None:
    text = bootstrap(option=DETECTS.format(kind="x.acme.v3.Acme", settings="y: 1"), route=TOLD)
    assert "x-told" in {unknown.what for unknown in asked(text).unknown}
    assert [one.what for one in config(text).unread] == ["original_ip_detection_extensions"]
