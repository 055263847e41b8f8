"""Who may pass: allow and deny, auth_basic, auth_request, auth_jwt, and what scripts may do, as steps."""

from collections.abc import Iterator

from wsprobe.frozen import dataclass
from wsprobe.lb._nginx_grammar import Directive
from wsprobe.lb._nginx_rewrite import Errors
from wsprobe.lb._nginx_scope import Scope
from wsprobe.lb._nginx_values import Around, Values, credentials, names_in
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
    Undecided,
    both,
)
from wsprobe.lb.model import Assign, Effect, Gate, Opaque, Step

_SCRIPTS = (
    "access_by_lua",
    "access_by_lua_block",
    "access_by_lua_file",
    "rewrite_by_lua",
    "rewrite_by_lua_block",
    "rewrite_by_lua_file",
    "js_access",
)
_OTHERS = ("auth_oidc", "auth_ldap", "auth_pam", "auth_digest", "auth_gss", "auth_radius", "auth_saml")
SCRIPTS = frozenset(_SCRIPTS)
"""Directives that run a script before a request is passed on."""


@dataclass(frozen=True, slots=True)
class _Check:
    """One of the things that decide: whether it lets the request pass, and for what reason nobody can tell."""

    gate: Gate
    cause: Directive
    surely_refused: Condition


@dataclass(frozen=True, slots=True)
class Access:
    """What decides about access to a block."""

    scope: Scope
    values: Values
    around: Around
    failed: Errors
    answers: dict[str, int]
    """What a location answers by itself whatever the request says, by its path."""

    def steps(self) -> Iterator[Step]:
        """The checks in their order; with `satisfy any` one of them is enough."""
        yield from self._certificate()
        checks = [*self._jwt(), *self._addresses(), *self._basic(), *self._request(), *self._others()]
        satisfy = self.scope.setting("satisfy")
        if satisfy and satisfy.arg(0) == "any" and len(checks) > 1:
            yield from self._any(checks)
        else:
            for check in checks:
                yield from self._one(check)
        yield from self._assigned()
        yield from self._scripts()

    def _one(self, check: _Check) -> Iterator[Step]:
        if check.gate.status and check.surely_refused != NEVER:
            when = both(check.gate.when, check.surely_refused)
            yield from self.failed.steps(check.gate.status, f"{check.gate.kind} refuses", when, check.cause)
        if check.gate.kind != "deny" or isinstance(check.gate.passes, Undecided):
            yield check.gate

    def _any(self, checks: list[_Check]) -> Iterator[Step]:
        last = checks[-1]
        passes = OneOf(tuple(check.gate.passes for check in checks))
        status = 401 if any(check.gate.status == 401 for check in checks) else 403
        refused = both(*(check.surely_refused for check in checks))
        yield from self.failed.steps(status, "satisfy any: nothing lets the request pass", refused, last.cause)
        for check in checks:
            if check.gate.kind != "deny":
                yield Gate(
                    kind=check.gate.kind,
                    header=check.gate.header,
                    effect=check.gate.effect,
                    passes=passes,
                    status=status,
                    returns=check.gate.returns,
                    place=check.gate.place,
                )

    def _addresses(self) -> Iterator[_Check]:
        rules = self.scope.nearest("allow", "deny")
        if not rules or not any(rule.name == "deny" for rule in rules):
            return
        allowed: Condition = ALWAYS
        for rule in reversed(rules):
            found = self._address(rule.arg(0))
            allowed = OneOf((found, allowed)) if rule.name == "allow" else both(Not(found), allowed)
        cause = next(rule for rule in rules if rule.name == "deny")
        gate = Gate(kind="deny", header="", effect=Effect.READS, passes=allowed, status=403, place=cause.place)
        yield _Check(gate, cause, Not(allowed))

    def _address(self, text: str) -> Condition:
        if text == "all":
            return ALWAYS
        if text == "unix:":
            return NEVER
        peer = self.around.names.get("remote_addr", Of(Subject.PEER))
        return Test(peer, How.NETWORK, (text,))

    def _basic(self) -> Iterator[_Check]:
        found = self.scope.setting("auth_basic")
        if found is None or found.arg(0) == "off" or not self.scope.setting("auth_basic_user_file"):
            return  # without a file of passwords nginx asks for none
        when: Condition = ALWAYS
        if names_in(found.arg(0)):
            when = Not(Test(self.values.value(found.arg(0), self.around), How.EQUALS, ("off",)))
        sent = credentials("Basic")
        passes = both(sent, Undecided("auth_basic", "it depends on the password, and on a file of passwords"))
        gate = self._gate("auth_basic", passes, found, when)
        yield _Check(gate, found, Not(sent))

    def _jwt(self) -> Iterator[_Check]:
        found = self.scope.setting("auth_jwt")
        if found is None or found.arg(0) == "off":
            return
        token = next((arg.removeprefix("token=") for arg in found.args if arg.startswith("token=")), "")
        given = credentials("Bearer")
        if token:
            given = Test(self.values.value(token, self.around), How.REGEX, (".",))
        passes = both(given, Undecided("auth_jwt", "it depends on the token and on the keys that nginx has"))
        gate = self._gate("auth_jwt", passes, found, ALWAYS, "" if token else "Authorization")
        yield _Check(gate, found, Not(given))

    def _request(self) -> Iterator[_Check]:
        found = self.scope.setting("auth_request")
        if found is None or found.arg(0) == "off":
            return
        path = found.arg(0)
        status = self.answers.get(path.partition("?")[0])
        passes: Condition = Undecided("auth_request", f"the service behind {path} decides")
        refused: Condition = NEVER
        if status is not None:
            passes = ALWAYS if status // 100 == 2 else NEVER
            refused = Not(passes)
        code = status if status in {401, 403} else 401 if status is None else 500
        assigned = {each.arg(0).removeprefix("$").lower() for each in self.scope.nearest("auth_request_set")}
        sets = self.scope.nearest("proxy_set_header")
        returns = tuple(each.arg(0) for each in sets if assigned & set(names_in(each.arg(1))))
        replaced = any(name.lower() == "authorization" for name in returns)
        gate = Gate(
            kind="auth_request",
            header="Authorization",
            effect=Effect.REPLACES if replaced else Effect.READS,
            passes=passes,
            status=code,
            returns=returns,
            place=found.place,
        )
        yield _Check(gate, found, refused)

    def _others(self) -> Iterator[_Check]:
        """Authentications of modules that are not followed."""
        for name in _OTHERS:
            found = self.scope.setting(name)
            if found and found.arg(0) != "off":
                passes = Undecided(name, f"{name} is not followed")
                yield _Check(self._gate(name, passes, found, ALWAYS), found, NEVER)

    def _certificate(self) -> Iterator[Step]:
        found = self.scope.setting("ssl_verify_client")
        if found and found.arg(0) == "on":
            passes = Undecided("ssl_verify_client", "it depends on the certificate of the client")
            https = Test(Of(Subject.SCHEME), How.EQUALS, ("https",))
            yield Gate(
                kind="ssl_verify_client",
                header="",
                effect=Effect.READS,
                passes=passes,
                when=https,
                status=400,
                place=found.place,
            )

    def _gate(
        self, kind: str, passes: Condition, cause: Directive, when: Condition, header: str = "Authorization"
    ) -> Gate:
        return Gate(
            kind=kind, header=header, effect=Effect.READS, passes=passes, when=when, status=401, place=cause.place
        )

    def _assigned(self) -> Iterator[Step]:
        """Variables that auth_request_set takes from the answer of the service."""
        found = self.scope.setting("auth_request")
        if found is None or found.arg(0) == "off":
            return
        for each in self.scope.nearest("auth_request_set"):
            name = each.arg(0).removeprefix("$").lower()
            from_answer = any(asked.startswith(("upstream_", "sent_http_")) for asked in names_in(each.arg(1)))
            value = self.values.value(each.arg(1), self.around)
            if from_answer and found.arg(0).partition("?")[0] not in self.answers:
                why = f"the service behind {found.arg(0)} decides it; where it does not return it, there is none"
                value = Undecided(each.arg(1), why)
            yield Assign(name=name, value=value, place=each.place)

    def _scripts(self) -> Iterator[Step]:
        for name in _SCRIPTS:
            for each in self.scope.nearest(name):
                why = f"{name} runs a script, which is not followed"
                passes = Undecided(name, why)
                yield Gate(kind=name, header="", effect=Effect.READS, passes=passes, status=None, place=each.place)
                yield Opaque(why=why, place=each.place)
