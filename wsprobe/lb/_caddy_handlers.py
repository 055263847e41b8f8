"""Caddy's handlers, each as the steps that it means: those that pass a request on, and those that end its way."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from wsprobe.lb._caddy_context import Context, End, Pass
from wsprobe.lb._caddy_headers import plain, request_edits
from wsprobe.lb._caddy_map import mapped
from wsprobe.lb._caddy_proxy import proxy
from wsprobe.lb._caddy_rewrite import rewrites
from wsprobe.lb._caddy_tree import Said, Tree
from wsprobe.lb._caddy_values import value_of
from wsprobe.lb._numbers import natural
from wsprobe.lb.expressions import (
    How,
    Test,
    Undecided,
    both,
    header,
)
from wsprobe.lb.model import Answer, Assign, Edit, Effect, Gate, Named, Op, Opaque, Spoil

Handled = Pass | End


def handled(handler: Tree, context: Context) -> Handled:
    """What a handler does."""
    name = handler.text("handler") or Said("a handler without a name", handler.place)
    read = _HANDLERS.get(name)
    if read is not None:
        return read(handler, context)
    context.report.unknown(name, "a handler that is not part of Caddy, or not read", handler.place)
    return Pass(steps=(Opaque(why=f"{name} may change the request", place=handler.place),))


# What passes the request on.


def _nothing(_: Tree, __: Context) -> Pass:
    return Pass()


def _headers(handler: Tree, context: Context) -> Pass:
    steps = tuple(request_edits(handler.tree("request"), plain(context.scope)))
    found = request_edits(handler.tree("response"), plain(context.scope))
    return Pass(steps=steps, response=tuple(edit for edit in found if isinstance(edit, Edit)))


def _rewrite(handler: Tree, context: Context) -> Pass:
    return Pass(steps=tuple(rewrites(handler, context.scope)))


def _vars(handler: Tree, context: Context) -> Pass:
    pairs = ((name, value) for name, value in handler.marked() if name != "handler" and isinstance(value, Said))
    return Pass(
        steps=tuple(
            Assign(name=name, value=value_of(value, context.scope, unknown_stays=False), place=name.place)
            for name, value in pairs
        )
    )


def _map(handler: Tree, _: Context) -> Pass:
    return Pass(steps=tuple(mapped(handler)))


def _authentication(handler: Tree, context: Context) -> Pass:
    """Basic authentication; any other provider decides by itself."""
    providers = handler.tree("providers") or Tree(handler.place)
    secret = Undecided("the password", "whether the password is right is not known here")
    right = both(Test(header("Authorization"), How.REGEX, (r"(?i)\ABasic [A-Za-z0-9+/=\r\n]+\Z",)), secret)
    known = list(providers) == ["http_basic"]
    gate = Gate(
        kind="basic_auth" if known else "authentication",
        header="Authorization",
        effect=Effect.READS,
        passes=right if known else Undecided("authentication", "whether it lets the request pass is not known here"),
        status=None if context.errors else 401,
        place=handler.place,
    )
    return Pass(steps=(gate,))


def _tracing(handler: Tree, _: Context) -> Pass:
    why = "tracing writes the headers of its own span"
    return Pass(steps=(Opaque(why=why, names=("traceparent", "tracestate"), place=handler.place),))


def _request_body(handler: Tree, context: Context) -> Pass:
    if "set" in handler:
        context.report.unknown("request_body set", "a body that is put in is not read", handler.where("set"))
    return Pass()


# What ends its way.


def _respond(handler: Tree, context: Context) -> End:
    said = handler.text("status_code")
    known = context.scope.known.get("http.error.status_code")
    status = natural(getattr(known, "text", "")) or 200 if said is None else natural(said)
    if handler.text("abort") == "true":
        status = None
    return End(place=handler.place, answer=Answer(status=status, why="Caddy answers by itself", place=handler.place))


def _error(handler: Tree, _: Context) -> End:
    said = handler.text("status_code")
    status = 500 if said is None else natural(said)
    answer = Answer(status=status, why="Caddy answers with an error", place=handler.place)
    return End(place=handler.place, answer=answer, failed=status or 0)


def _files(handler: Tree, _: Context) -> End:
    return End(
        place=handler.place, answer=Answer(status=None, why="Caddy answers with a file, or 404", place=handler.place)
    )


def _own(handler: Tree, _: Context) -> End:
    name = handler.text("handler")
    return End(place=handler.place, answer=Answer(status=200, why=f"{name} answers by itself", place=handler.place))


def _reverse_proxy(handler: Tree, context: Context) -> Handled:
    transport = handler.tree("transport")
    if transport is not None and transport.text("protocol") == "fastcgi":
        why = "FastCGI carries no WebSocket; its application answers"
        return End(place=handler.place, answer=Answer(status=None, why=why, place=handler.place))
    gated = _forward_auth(handler, context)
    if gated is not None:
        return gated
    ended = proxy(handler, context)
    return replace(ended, steps=(*ended.steps, *_spoilt(handler, context)))


def _spoilt(handler: Tree, context: Context) -> Iterator[Spoil]:
    """What keeps a 101 of the upstream from the client: buffers, and responses that are handled."""
    buffers = handler.text("response_buffers")
    if buffers is not None and buffers != "0":
        why = "response_buffers puts a buffer where the connection should be, so the client gets an empty 200"
        yield Spoil(status=200, why=why, place=handler.where("response_buffers"))
    for each in handler.trees("handle_response"):
        if not _takes_101(each):
            continue
        handlers = [one for route in each.trees("routes") for one in route.trees("handle")]
        names = {one.text("handler") for one in handlers}
        status = each.text("status_code") or next((one.text("status_code") for one in handlers), None)
        if "reverse_proxy" in names:
            context.report.unknown("handle_response", "another upstream that is asked then is not read", each.place)
        elif "copy_response" not in names and (handlers or status):
            code = natural(status or "") or (200 if handlers else None)
            yield Spoil(status=code, why="the response is handled, also where it is a 101", place=each.place)
        return


def _takes_101(each: Tree) -> bool:
    match = each.tree("match")
    if match is None:
        return True
    return "headers" not in match and bool({"1", "101"} & set(match.texts("status_code")))


def _forward_auth(handler: Tree, context: Context) -> Pass | None:
    """A proxy that asks another service and goes on where its answer is good: what `forward_auth` is made of."""
    good = next((each for each in handler.trees("handle_response") if _is_good(each)), None)
    if good is None or not (handler.tree("rewrite") or Tree(handler.place)).text("method"):
        return None
    edits = tuple(_copied(good, context))
    names = [name for edit in edits if isinstance(edit.which, Named) for name in edit.which.names]
    returns = tuple(dict.fromkeys(names))
    replaces = any(name.lower() == "authorization" for name in returns)
    gate = Gate(
        kind="forward_auth",
        header="Authorization",
        effect=Effect.REPLACES if replaces else Effect.READS,
        passes=Undecided("forward_auth", "what the authentication service answers is not known here"),
        status=None,
        returns=returns,
        place=handler.place,
    )
    return Pass(steps=(gate, *edits))


def _is_good(each: Tree) -> bool:
    match = each.tree("match")
    codes = match.texts("status_code") if match else []
    return any(code in {"2", "200"} for code in codes) and not any(
        handler.text("handler") in {"static_response", "reverse_proxy", "copy_response"}
        for route in each.trees("routes")
        for handler in route.trees("handle")
    )


def _copied(good: Tree, context: Context) -> Iterator[Edit]:
    """The headers that are taken from the service's answer. Before 2.11 what the client sent stayed, unless set."""
    why = "it is what the authentication service returns"
    for route in good.trees("routes"):
        conditional = bool(route.trees("match"))
        for handler in route.trees("handle"):
            for edit in request_edits(handler.tree("request"), plain(context.scope)):
                if isinstance(edit, Edit) and (conditional or edit.op is not Op.REMOVE):
                    value = Undecided("the answer", why)
                    yield Edit(op=Op.SET, which=edit.which, value=value, place=edit.place)


_HANDLERS: Mapping[str, Callable[[Tree, Context], Handled]] = {
    "headers": _headers,
    "rewrite": _rewrite,
    "vars": _vars,
    "map": _map,
    "authentication": _authentication,
    "tracing": _tracing,
    "request_body": _request_body,
    "encode": _nothing,
    "templates": _nothing,
    "push": _nothing,
    "intercept": _nothing,
    "log_append": _nothing,
    "copy_response": _nothing,
    "copy_response_headers": _nothing,
    "static_response": _respond,
    "error": _error,
    "file_server": _files,
    "metrics": _own,
    "acme_server": _own,
    "reverse_proxy": _reverse_proxy,
}
