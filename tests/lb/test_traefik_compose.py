"""Traefik's labels and flags in a compose file, and what becomes of an upgrade."""

from tests.lb.traefik_configs import BEARER, COMPOSE, config
from wsprobe.lb.model import Effect, Gate
from wsprobe.lb.predict import predict
from wsprobe.lb.request import upgrade
from wsprobe.rules.config import judge


def test_labels_and_flags_of_a_compose_file_are_a_config() -> None:
    found = config(COMPOSE)
    assert (found.version, found.assumed, found.problems, found.unread) == ("3.1", False, (), ())
    prediction = predict(found, upgrade("/ws/a", headers=(BEARER,)))
    assert prediction.request
    assert prediction.request.start_line == "GET /a HTTP/1.1"
    removed = next(edit for edit in prediction.edits if edit.name == "Authorization")
    assert removed.place
    assert removed.place.line == 13
    (listener,) = found.listeners
    assert [route.upstream and route.upstream.addresses for route in listener.routes] == [("site",), ("chat:8080",)]
    assert listener.limits[0].most < 6000


def test_a_variable_of_the_environment_is_not_guessed() -> None:
    found = config(COMPOSE)
    assert predict(found, upgrade("/site")).reached is None
    assert predict(found, upgrade("/other")).status == 404


def test_a_container_without_a_rule_has_the_default_one_for_its_name() -> None:
    flags = "services:\n  proxy:\n    image: traefik\n    command: --providers.docker --entrypoints.web.address=:80\n"
    text = (
        f"{flags}  chat:\n    labels: [traefik.enable=true, traefik.http.services.chat.loadbalancer.server.port=80]\n"
    )
    found = config(text)
    assert predict(found, upgrade("/", "chat-project")).reached is None
    assert predict(found, upgrade("/", "other")).status == 404
    assert [unknown.what for unknown in found.unread] == ["services without labels"]


def test_a_middleware_is_called_by_its_own_name_whatever_the_case_that_labels_write() -> None:
    text = COMPOSE.replace(
        "strip.headers.customrequestheaders.Authorization=",
        'strip.basicauth.users=a:b"\n      - "traefik.http.middlewares.strip.basicauth.removeheader=true',
    )
    found = config(text)
    gates = [step for route in found.listeners[0].routes for step in route.steps if isinstance(step, Gate)]
    assert [(gate.kind, gate.effect) for gate in gates] == [("basicAuth", Effect.CONSUMES)]
    fixes = {finding.fix for finding in judge([found]) if finding.rule == "credential-consumed"}
    assert fixes == {"Write `removeHeader: false`, or let the client authenticate by another header."}
