"""Runs a request through a config: the request as the upstream will receive it, and every edit with its line.

Pure, and the same for all proxies. What cannot be known stands in `unknown` with the reason; nothing is guessed: a
header that an undecidable condition touches is in neither the headers nor the edits from there on.
"""

from collections.abc import Iterator
from dataclasses import replace

from wsprobe.inspection import Prediction, Unknown
from wsprobe.lb.evaluation import holds
from wsprobe.lb.expressions import Unsure
from wsprobe.lb.model import Bind, Config, Listener, Only, Reroute, Route, Step
from wsprobe.lb.request import Request
from wsprobe.lb.run import Run

MAX_REROUTES = 10
"""How often a route is chosen anew for one request; a proxy that does not stop there itself answers 500."""


def predict(config: Config, request: Request) -> Prediction:
    """What becomes of a request that comes to the proxy of this config.

    Where several listeners could take it, those of the request's port come first; of the others, the first that
    leads to an upstream. `assumed` says which one was taken.
    """
    listeners = [listener for listener in config.listeners if takes(listener, request)]
    if not listeners:
        named = any(_binds(listener, request) for listener in config.listeners)
        host = next((value for name, value in request.headers if name.lower() == "host"), "")
        where = f"TLS for {host}" if named else f"port {request.port}" if request.port else "this request"
        return _nothing(config, Unknown(what="the listener", why=f"no listener of the config takes {where}"))
    found = [_through(config, listener, request) for listener in listeners]
    at = next((index for index, one in enumerate(found) if one.reached is not False), 0)
    if len(found) == 1:
        return found[0]
    taken = f"the client connects to {listeners[at].label}: {len(found)} listeners could take the request"
    return replace(found[at], assumed=(*found[at].assumed, taken))


def carry(config: Config, listener: Listener, route: Route, request: Request) -> Prediction:
    """What becomes of a request on one route, whether or not it matches."""
    run = Run(_arrived(listener, request))
    return finish(run, config, listener, route) if run.enter(listener) else _left(run, config, listener)


def takes(listener: Listener, request: Request) -> bool:
    """Whether a listener can be the one that the client connected to, as far as both are known.

    A client of TLS names the host that it asks for (RFC 6066, 3); it is taken to be the Host of the request.
    """
    if listener.binds and not _binds(listener, request):
        return False
    return request.scheme != "https" or holds(listener.match, Run(request)) is not False


def _binds(listener: Listener, request: Request) -> list[Bind]:
    """The addresses of a listener that the client can have connected to."""
    binds = [bind for bind in listener.binds if request.port is None or bind.port in {None, request.port}]
    if request.scheme is not None:
        binds = [bind for bind in binds if bind.tls is (request.scheme == "https")]
    return binds


def _arrived(listener: Listener, request: Request) -> Request:
    """The request with the scheme and port of the listener that takes it, where it has one of each."""
    binds = _binds(listener, request)
    schemes = {"https" if bind.tls else "http" for bind in binds}
    ports = {bind.port for bind in binds}
    return replace(
        request,
        scheme=request.scheme or (schemes.pop() if len(schemes) == 1 else None),
        port=request.port or (ports.pop() if len(ports) == 1 else None),
    )


def _nothing(config: Config, *unknown: Unknown) -> Prediction:
    return Prediction(
        reached=None, status=None, request=None, edits=(), timeouts=(), unknown=unknown, config=config.path
    )


def _through(config: Config, listener: Listener, request: Request) -> Prediction:
    run = Run(_arrived(listener, request))
    return _routed(run, config, listener) if run.enter(listener) else _left(run, config, listener)


def _left(run: Run, config: Config, listener: Listener) -> Prediction:
    """What becomes of a request that the listener itself does not let go on to a route."""
    return _rerouted(run, config, listener, run.reroute) if run.reroute else run.refused(config, listener, None)


def _routed(run: Run, config: Config, listener: Listener) -> Prediction:
    """What becomes of a request that has come in, on the first route that takes it."""
    for route in listener.routes:
        held = holds(route.match, run)
        if isinstance(held, Unsure):
            what = f"whether {route.label} takes the request"
            return _nothing(config, Unknown(what=what, why=held.why, place=route.place))
        if held and (found := _taken(run, config, listener, route)):
            return found
    run.pass_by(listener)
    return run.refused(config, listener, None)


def _rerouted(run: Run, config: Config, listener: Listener, step: Reroute) -> Prediction:
    """What becomes of a request for which a route is chosen anew."""
    run.ended, run.reroute, run.reroutes = False, None, run.reroutes + 1
    if run.reroutes > MAX_REROUTES:
        run.end(500, "the request is routed anew without end", step.place)
        return run.refused(config, listener, None)
    if step.again and not run.enter(listener):
        return _left(run, config, listener)
    if not step.to:
        return _routed(run, config, listener)
    route = next((route for route in listener.routes if route.name == step.to), None)
    if route is None:
        return _nothing(config, Unknown(what=step.to, why="a route that the config does not have", place=step.place))
    return finish(run, config, listener, route)


def finish(run: Run, config: Config, listener: Listener, route: Route) -> Prediction:
    """What becomes of a request on a route, and on the one that its steps lead to from there."""
    run.take(route)
    if run.reroute and run.chosen is True:
        return _rerouted(run, config, listener, run.reroute)
    return run.passed(config, listener, route)


def _taken(run: Run, config: Config, listener: Listener, route: Route) -> Prediction | None:
    """What becomes of a request on a route that matches; None where the route leaves it to the next one on the way."""
    if not any(isinstance(step, Only) for step in route.steps):
        return finish(run, config, listener, route)
    trial = run.copy()
    found = finish(trial, config, listener, route)
    if isinstance(trial.chosen, Unsure):
        what = f"whether {route.label} takes the request"
        return _nothing(config, Unknown(what=what, why=trial.chosen.why, place=route.place))
    return found if trial.chosen else None


def steps_of(listener: Listener, route: Route) -> Iterator[Step]:
    """All steps of a route, those of its listener first."""
    for step in (*listener.steps, *route.steps):
        yield from step.first if isinstance(step, Reroute) else ()
        yield step
