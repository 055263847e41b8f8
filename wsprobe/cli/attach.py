"""`wsprobe attach`: a report as a comment in the incident's issue, or as a new issue."""

import argparse
import hashlib
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from wsprobe.cli import UsageError, issues, one_line, output
from wsprobe.cli.report import located, read_result
from wsprobe.cli.writing import save, say
from wsprobe.comparison import Comparison
from wsprobe.model import Report, Reports, Trace
from wsprobe.reports import comparison, formats

if TYPE_CHECKING:
    import ssl

    from wsprobe.net.attach import File, Post

Result = Report | Reports | Comparison

LONGEST_TITLE = 255
"""Characters of a title: GitLab takes no more, GitHub one more."""

_JOINERS = "\u200c\u200d"
_STATUS = "Exit status: 0 posted, or printed; 1 not posted, with the reason; 2 wrong usage or unreadable input."
_LONGEST_WAIT = 30.0
_ID = re.compile(r"[A-Za-z0-9]{8,64}")
_PIPE = Path("/dev/stdin")
_TOKEN_COMMANDS = {"github": "gh auth token --hostname {}", "gitlab": "glab config get token --host {}"}


def arguments(parser: argparse.ArgumentParser) -> None:
    """What can be given."""
    parser.epilog = _STATUS
    add = parser.add_argument
    add("report", metavar="REPORT", help="a saved report or its folder, a trace or a comparison; - is stdin")
    add("target", metavar="TARGET", help=issues.FORMS)
    add("--post", action="store_true", help="post it; without, what would be posted is printed and nothing is sent")
    add("--new", action="store_true", help="open an issue in the project TARGET; needs --title")
    add("--title", metavar="TEXT", help="the title of the new issue")
    add("--label", metavar="NAME", action="append", default=[], help="a label of the new issue; may be repeated")
    token = parser.add_mutually_exclusive_group().add_argument
    token("--token-env", metavar="NAME", help="the token is in this environment variable")
    token("--token-cmd", metavar="CMD", help="the token is what this prints, run without a shell (default: gh or glab)")
    add("--author", metavar="NAME", help="update the comment of this user (default: the one whose token it is)")
    add("--platform", choices=tuple(_TOKEN_COMMANDS), help="what runs at the URL, where that does not tell")
    add(
        "--api",
        metavar="URL",
        help="where the API of your own server is (default: below its URL; of a short form, that of the CI job)",
    )
    add("--cacert", metavar="FILE", type=Path, help="authorities to trust, in PEM")
    add("--wait", metavar="SECONDS", type=float, default=_LONGEST_WAIT, help="wait so long for a rate limit, once")


def run(options: argparse.Namespace) -> int:
    """Prints or posts; exit status 1 where it could not be posted."""
    target = issues.parse(options.target, platform=options.platform, api=options.api, new=options.new)
    _check(options)
    path = _PIPE if options.report == "-" else located(Path(options.report))
    result = read_result(path)
    if isinstance(result, Trace):
        from wsprobe.diagnose import diagnose

        result = diagnose(result)
    post = _post(result, target, options)
    if not options.post:
        say(post.body({}))
        _tell(_plan(post, target))
        return 0
    return _sent(post, target, options, lambda: _kept(path, result))


def _check(options: argparse.Namespace) -> None:
    """Refuses what contradicts itself before anything is read or sent."""
    if options.new != (options.title is not None):
        raise UsageError("--new and --title belong together: an issue has a title, a comment has none")
    if options.label and not options.new:
        raise UsageError("--label is for --new: a comment has no labels")
    if options.title is not None and not 0 < len(options.title.strip()) <= LONGEST_TITLE:
        raise UsageError(f"--title: give 1 to {LONGEST_TITLE} characters, not {len(options.title.strip())}")
    if options.title is not None and not _prints(options.title):
        raise UsageError("--title: a title is one line of characters that print")
    if not all(label.strip() and _prints(label) for label in options.label):
        raise UsageError("--label: give a name of characters that print")
    if not 0 <= options.wait <= 3600:
        raise UsageError(f"--wait {options.wait:g}: give 0 to 3600 seconds")


def _prints(text: str) -> bool:
    """Whether a text is one line that shows as it is; the joiners are letters to Persian, Hindi and emoji."""
    return all(character.isprintable() or character in _JOINERS for character in text)


# What is posted.


def _post(result: Result, target: issues.Target, options: argparse.Namespace) -> "Post":
    from wsprobe.net.attach import PLATFORMS, New, Post

    files = _files(result)
    name = PLATFORMS[target.platform].name
    marker = f"<!-- wsprobe:{identity(result)} -->"
    new = New(title=options.title.strip(), labels=tuple(map(str.strip, options.label))) if options.new else None
    return Post(
        marker=marker,
        body=lambda links: _body(result, marker, _file_lines(files, links, name, posted=options.post)),
        files=files if target.platform == issues.GITLAB else (),
        new=new,
        author=options.author,
    )


def identity(result: Result) -> str:
    """What names a report from one run to the next: the id of its trace, of several a digest of all their ids.

    A comparison holds no ids, and is named by all that it says.
    """
    reports = () if isinstance(result, Comparison) else (result,) if isinstance(result, Report) else result.reports
    ids = [report.trace.id or "" for report in reports]
    if len(ids) == 1 and _ID.fullmatch(ids[0]):
        return ids[0]
    known = sorted(ids) if ids and all(ids) else [_rendered(result, "json")]
    return hashlib.sha256("\n".join(known).encode()).hexdigest()[:32]


def _rendered(result: Result, name: str) -> str:
    if isinstance(result, Comparison):
        return comparison.formats()[name].render(result)
    return output.rendered(result, name)


def _files(result: Result) -> "tuple[File, ...]":
    """The whole report as files; the name holds a digest, so that the same file is not uploaded twice."""
    from wsprobe.net.attach import File

    contents = [
        (name, _rendered(result, name).encode("utf-8", "backslashreplace"))
        for name in ("html", "json")
        if name in formats()
    ]
    return tuple(
        File(name=f"wsprobe-{hashlib.sha256(content).hexdigest()[:16]}{formats()[name].SUFFIXES[0]}", content=content)
        for name, content in contents
    )


def _file_lines(files: "Iterable[File]", links: Mapping[str, str], platform: str, *, posted: bool) -> str:
    """The report's files: linked where they were uploaded, and where not, what they would be known by."""
    if platform != "GitLab":
        missing = f"not uploaded: {platform} takes no files by its API"
    else:
        missing = "not uploaded: the server did not take it" if posted else "to be uploaded"
    lines = ["**Files**", ""]
    for file in files:
        kind = file.name.rpartition(".")[2].upper()
        digest = hashlib.sha256(file.content).hexdigest()
        link = f"[`{file.name}`]({links[file.name]})" if file.name in links else missing
        lines.append(f"- {kind} report ({len(file.content)} octets, SHA-256 `{digest}`): {link}")
    return "\n".join(lines)


def _body(result: Result, marker: str, files: str) -> str:
    """The comment: the marker that is not shown, the report as Markdown, and its files, in 60,000 characters."""
    from wsprobe.reports import markdown

    room = markdown.LONGEST - len(marker) - len(files) - 4
    if isinstance(result, Comparison):
        from wsprobe.reports.comparison import markdown as compared

        report = compared.render(result, room=room)
    elif isinstance(result, Report):
        report = markdown.render(result, room=room)
    else:
        report = markdown.render_all(result, room=room)
    return f"{marker}\n{report}\n{files}\n"


def _plan(post: "Post", target: issues.Target) -> str:
    """What --post would send and where to, told beside what it would say."""
    size = len(post.body({}))
    if post.new:
        labels = f" and the labels {', '.join(post.new.labels)}" if post.new.labels else ""
        what = f"{target.project}, as a new issue with the title {post.new.title!r}{labels}"
    else:
        what = f"{target.project}#{target.number}, as a comment or in the place of your own earlier one of this trace"
    uploads = ", ".join(file.name for file in post.files) or "nothing, which the comment says"
    host = urlsplit(target.api).netloc
    return (
        f"nothing was sent. --post sends these {size} characters to {target.api} for {what}; uploads {uploads}; "
        f"and sends the token to {host} alone"
    )


# How it is posted.


def _sent(post: "Post", target: issues.Target, options: argparse.Namespace, kept: Callable[[], str]) -> int:
    import asyncio

    from wsprobe.net.attach import PLATFORMS, attach
    from wsprobe.net.forge import AttachError, Forge

    token = _token(options, target)
    platform = PLATFORMS[target.platform](target.project, target.number, target.web)
    forge = Forge(
        api=target.api,
        token=token,
        headers=platform.headers,
        tell=lambda text: _tell(text.replace(token, "[withheld]")),
        longest_wait=options.wait,
        tls=_tls(options.cacert),
    )
    try:
        where = asyncio.run(attach(forge, platform, post))
    except (AttachError, KeyboardInterrupt) as error:
        unknown = not isinstance(error, AttachError) or error.unknown
        came = "whether it was posted is not known, and to try again is safe" if unknown else "it was not posted"
        file = kept()
        why = f"{str(error) or 'interrupted'}{_elsewhere(error, target, options)}"
        line = f"{why}; {came}. The report is kept in {file}. Again: {_again(options, file)}"
        _tell(line.replace(token, "[withheld]"))
        return 1 if isinstance(error, AttachError) else 130
    say(one_line(where.replace(token, "[withheld]")) + "\n")
    return 0


def _elsewhere(error: BaseException, target: issues.Target, options: argparse.Namespace) -> str:
    """Where a GitLab may be that was not found: its address does not tell its own path from that of a project."""
    root, _, rest = target.project.partition("/")
    if target.platform != issues.GITLAB or options.api or "/" not in rest or getattr(error, "status", None) != 404:
        return ""
    return f"; if that GitLab is below {target.web}/{root}, give --api {target.web}/{root}/api/v4"


def _token(options: argparse.Namespace, target: issues.Target) -> str:
    import os

    from wsprobe.cli.headeroptions import checked_token, printed

    if options.token_env is not None:
        if options.token_env not in os.environ:
            raise UsageError(f"--token-env: there is no environment variable {options.token_env}")
        return checked_token(os.environ[options.token_env], f"--token-env: the value of {options.token_env}")
    if options.token_cmd is not None:
        return checked_token(printed(options.token_cmd, "--token-cmd"), "--token-cmd: what the command printed")
    command = _TOKEN_COMMANDS[target.platform].format(shlex.quote(target.host))
    program = command.partition(" ")[0]
    if shutil.which(program) is None:
        raise UsageError(f"no token: {program} is not installed; give --token-env NAME or --token-cmd CMD")
    return checked_token(printed(command, program), f"what {program} printed for {target.host}")


def _tls(authorities: Path | None) -> "ssl.SSLContext":
    from wsprobe.net.tls import dialling

    try:
        return dialling(authorities, verify=True)
    except OSError as error:
        raise UsageError(f"{authorities}: {error.strerror}") from None
    except ValueError as error:
        raise UsageError(str(error)) from None


def _kept(path: Path, result: Result) -> str:
    """The file that holds the report; what came through a pipe is saved first."""
    if path.is_file():
        return str(path)
    saved = Path(f"wsprobe-{identity(result)}.json")
    try:
        save(saved, _rendered(result, "json"))
    except OSError as error:
        raise UsageError(f"{saved}: cannot be written: {error.strerror}") from None
    return str(saved)


def _again(options: argparse.Namespace, file: str) -> str:
    """The command that tries again; the token itself is in none of its words."""
    words = ["wsprobe", "attach", file, options.target, "--post"]
    words += ["--new", "--title", options.title] if options.new else []
    words += ["--wait", f"{options.wait:g}"] if options.wait != _LONGEST_WAIT else []
    words += [word for label in options.label for word in ("--label", label)]
    for name in ("token_env", "token_cmd", "author", "platform", "api", "cacert"):
        value = getattr(options, name)
        words += [f"--{name.replace('_', '-')}", str(value)] if value is not None else []
    return shlex.join(words)


def _tell(text: str) -> None:
    print(f"wsprobe attach: {one_line(text)}", file=sys.stderr)
