"""`wsprobe inspect`: what load balancer configs do to an upgrade, and what is wrong with it."""

import argparse
import gc
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from wsprobe.cli import UsageError, one_line
from wsprobe.cli.configs import Way, find
from wsprobe.cli.configuration import FAIL_ON, VERSION, Configuration, load
from wsprobe.cli.headeroptions import given_headers, header_arguments
from wsprobe.cli.writing import check_output, is_folder, save_all, say, screen
from wsprobe.inspection import Inspection, Problem
from wsprobe.lb import kinds
from wsprobe.parts import Severity
from wsprobe.reports import config as reports

if TYPE_CHECKING:
    from wsprobe.examine import Query
    from wsprobe.lb.request import Request
    from wsprobe.parts import Header

_FOLDER_FILES = ("inspection.json", "inspection.sarif", "inspection.txt", "inspection.xml")
_WEEK = 7 * 24 * 3600


def arguments(parser: argparse.ArgumentParser) -> None:
    """What may be asked."""
    add = parser.add_argument
    add("paths", metavar="PATH", nargs="+", help="a config, a folder that is walked, or - for stdin")
    add("--as", dest="kind", choices=kinds(), help="what the files are, where that is not to be recognised")
    add("--root", metavar="DIR", type=Path, help="includes are opened below this folder (default: that of PATH)")
    add("--lb-version", metavar="KIND=VERSION", action="append", default=[], help="a proxy's version: nginx=1.22")
    add("--ping", metavar="SECONDS", type=_seconds, help="how often clients ping: a shorter idle timer is told")
    add("--predict", metavar="URL-OR-PATH", help="this request as the upstream will receive it")
    header_arguments(parser)
    add = parser.add_argument_group("the result").add_argument
    add("--select", metavar="RULE,…", action="append", default=[], help="only these rules")
    add("--ignore", metavar="RULE,…", action="append", default=[], help="all rules but these")
    add("--fail-on", choices=FAIL_ON, help="exit with 1 from this severity on (default: error)")
    add("--format", choices=tuple(reports.formats()), default="terminal", help="what stdout gets")
    add(
        "-o",
        "--output",
        metavar="FILE",
        type=Path,
        action="append",
        default=[],
        help="also write a file, whose suffix picks the format, or into a folder: inspection.json, .sarif, .txt, .xml",
    )


def run(options: argparse.Namespace) -> int:
    """0 or 1 by --fail-on; 2 where something could not be read, after all that was read was told."""
    collects = gc.isenabled()
    gc.disable()  # what an inspection makes, it keeps until it ends: to look for garbage takes a twentieth of its time
    try:
        return _inspect(options)
    finally:
        if collects:
            gc.enable()


def _inspect(options: argparse.Namespace) -> int:
    from wsprobe.examine import examine

    if "" in options.paths:
        raise UsageError("an empty PATH: . is the folder that you are in")
    for path in options.output:
        check_output(path, reports.formats())
    settings = _settled(options)
    query = _query(options, settings)
    way = Way(kind=options.kind, versions=settings.versions, root=settings.root, exclude=settings.exclude)
    found = find(options.paths, way)
    inspection = examine(found.configs, found.sources, query, found.problems, found.passed_over)
    failed = _write(inspection, options)
    for problem in (*map(told, inspection.problems), *failed):
        print(f"wsprobe inspect: {one_line(problem)}", file=sys.stderr)
    if found.interrupted:
        return 130
    return 2 if failed else inspection.status


def told(problem: Problem) -> str:
    """A problem in one line: where, and what."""
    where = ":".join(str(part) for part in (problem.path, problem.line, problem.column) if part)
    return f"{where}: {problem.message}"


# What was asked.


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
    if not 0 < value <= _WEEK:
        raise argparse.ArgumentTypeError(f"{text} is not more than 0 and at most a week")
    return value


def _settled(options: argparse.Namespace) -> Configuration:
    """The configuration of the project, with what the command line says in its place."""
    found = load()
    if options.root is not None and not options.root.is_dir():
        raise UsageError(f"--root: {options.root} is no folder")
    given = {
        "select": _rules("--select", options.select),
        "ignore": _rules("--ignore", options.ignore),
        "fail_on": options.fail_on,
        "ping": options.ping,
        "root": options.root,
    }
    settings = {name: value for name, value in given.items() if value}
    return replace(found, **settings, versions={**found.versions, **versions(options.lb_version)})


def _rules(option: str, given: Sequence[str]) -> tuple[str, ...]:
    names = tuple(name.strip() for each in given for name in each.split(",") if name.strip())
    if not names:
        return ()
    from wsprobe.examine import all_rules

    unknown = next((name for name in names if name not in all_rules()), None)
    if unknown is not None:
        raise UsageError(f"{option}: there is no rule {unknown[:80]!r}; the rules are {', '.join(all_rules())}")
    return names


def versions(given: Sequence[str]) -> Mapping[str, str]:
    """The versions of proxies by kind, as --lb-version tells them; UsageError where one cannot be."""
    found = {}
    for each in given:
        kind, equals, version = each.partition("=")
        if not equals or kind not in kinds() or not VERSION.fullmatch(version):
            known = ", ".join(kinds())
            raise UsageError(f"--lb-version {each[:80]!r}: it needs KIND=VERSION, as nginx=1.22; kinds are {known}")
        found[kind] = version
    return found


def _query(options: argparse.Namespace, settings: Configuration) -> "Query":
    from wsprobe.examine import OWN, Query
    from wsprobe.lb.request import SOME_HOST
    from wsprobe.rules.config import Asked

    request = _request(options)
    headers = request.headers if request else ()
    asked = Asked(
        ping=settings.ping,
        token=_longest_credential(headers),
        headers=tuple(dict.fromkeys(name for name, _ in headers if name.lower() not in OWN)),
        paths=(request.target,) if request else (),
        at=request if request and (request.scheme or ("Host", SOME_HOST) not in request.headers) else None,
    )
    return Query(
        asked=asked,
        request=request,
        select=frozenset(settings.select),
        ignore=frozenset(settings.ignore),
        fail_on=None if settings.fail_on == "never" else Severity(settings.fail_on),
    )


def _longest_credential(headers: "tuple[Header, ...]") -> int | None:
    from wsprobe.credentials import is_secret_name

    return max((len(value.encode()) for name, value in headers if is_secret_name(name)), default=None)


def _request(options: argparse.Namespace) -> "Request | None":
    """The upgrade that --predict asks about."""
    if options.predict is None:
        given = [options.header, options.bearer_env, options.bearer_file, options.bearer_cmd, options.as_browser]
        if any(given):
            raise UsageError("headers are those of the request that --predict asks about: give --predict too")
        return None
    from yarl import URL

    from wsprobe.cli.asked import parse_url
    from wsprobe.lb.request import request_for

    text: str = options.predict
    if text.startswith("/") and not text.startswith("//"):
        if options.as_browser:
            raise UsageError("--as-browser needs a URL: a browser sends the Origin of its page")
        if not text.isprintable() or " " in text:
            raise UsageError("--predict: the path has a space or a control character in it")
        return request_for(text, given_headers(options, URL()))
    url = parse_url(text, "--predict URL", ("ws", "wss", "http", "https"))
    headers = given_headers(options, url)
    if url.user is not None:
        from base64 import b64encode

        pair = b64encode(f"{url.user}:{url.password or ''}".encode()).decode()
        headers = (*headers, ("Authorization", f"Basic {pair}"))
    return request_for(text, headers)


# Where it goes.


def _files(path: Path) -> Sequence[Path]:
    return [path / name for name in _FOLDER_FILES] if is_folder(path) else [path]


def _write(inspection: Inspection, options: argparse.Namespace) -> list[str]:
    """Writes the result everywhere it was asked for; what could not be written, a line each."""
    formats = reports.formats()
    files = [file for path in options.output for file in _files(path)]
    failed = save_all((path, formats[formats.by_suffix(path) or "json"].render(inspection)) for path in files)
    if options.format != "terminal":
        say(formats[options.format].render(inspection))
    elif inspection.configs or not inspection.problems:
        from wsprobe.reports.config import terminal

        width, colour = screen()
        # stderr has the problems, a line each
        say(terminal.render(replace(inspection, problems=()), width=width, colour=colour))
    return failed
