"""Which issue is meant: `github:OWNER/REPO#N`, `gitlab:GROUP/PROJECT#N` or an issue's URL, and where its API is."""

import os
import re
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from wsprobe.cli import UsageError
from wsprobe.cli.wayoptions import is_loopback

GITHUB, GITLAB = "github", "gitlab"
FORMS = "github:OWNER/REPO#N, gitlab:GROUP/PROJECT#N, or the issue's URL"

_APIS = {
    GITHUB: ("GITHUB_API_URL", "https://api.github.com"),
    GITLAB: ("CI_API_V4_URL", "https://gitlab.com/api/v4"),
}
"""What the jobs of GitHub Actions and GitLab CI are told about their own server, and what holds elsewhere."""

_SHORT = re.compile(r"(github|gitlab):([^#\s]*)(?:#(.*))?", re.IGNORECASE | re.DOTALL)
_NUMBER = re.compile(r"[1-9]\d{0,17}", re.ASCII)
_SEGMENT = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9_.][A-Za-z0-9_.-]{0,254}")
_GITHUB_PATH = re.compile(r"([^/]+/[^/]+)(?:/(?:issues|pull)(?:/(?:new|(\d+)))?)?")
_GITLAB_PATH = re.compile(r"(.+?)(?:/-)?(?:/(?:issues|work_items)(?:/(?:new|(?:incident/)?(\d+)))?)?")
_MERGE_REQUEST = re.compile(r"/merge_requests/\d+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """An issue, or where a new one is to be opened: `api` and `web` are what the paths there begin with."""

    platform: str
    project: str
    number: int | None
    api: str
    web: str

    @property
    def host(self) -> str:
        """The host whose token it takes, as `gh` and `glab` name it."""
        parts = urlsplit(self.api)
        return (parts.hostname or "").removeprefix("api.") if self.platform == GITHUB else parts.netloc.lower()


def parse(text: str, *, platform: str | None, api: str | None, new: bool) -> Target:
    """The target; UsageError in one line where it is none, or where its token would travel in the clear."""
    base = _api(api) if api is not None else None
    short = _SHORT.fullmatch(text)
    if short:
        target = _of_short(short, base)
    elif text.lower().startswith(("http://", "https://")):
        target = _of_url(_split(text, "the target"), platform, base)
    else:
        raise UsageError(f"the target {text!r} is none of {FORMS}")
    if platform not in (None, target.platform):
        raise UsageError(f"--platform {platform} contradicts the target, which names {target.platform}")
    if new and target.number is not None:
        raise UsageError("--new opens an issue: give the project alone, without the number of an issue")
    if not new and target.number is None:
        raise UsageError(f"the target names no issue: give {FORMS}, or --new to open one")
    return target


def _of_short(short: re.Match[str], api: str | None) -> Target:
    """A target that names no server: that of the job that runs, or else the one that everybody knows."""
    platform, project, number = short[1].lower(), short[2].strip("/"), short[3]
    if number is not None and not _NUMBER.fullmatch(number):
        raise UsageError(f"the target's {number!r} is no number of an issue")
    variable, usual = _APIS[platform]
    at = api or _api(os.environ.get(variable) or usual, variable)
    web = "https://github.com" if at == "https://api.github.com" else re.sub(r"/api/v\d+$", "", at)
    return _checked(platform, project, number, at, web)


def _of_url(url: SplitResult, platform: str | None, api: str | None) -> Target:
    api = api or (_of_the_job(url) if platform != GITHUB else None)
    root = urlsplit(re.sub(r"/api/v\d+$", "", api or "")).path  # a GitLab below a path of its host
    path = url.path.removeprefix(f"{root}/").strip("/")
    if _MERGE_REQUEST.search(path):
        raise UsageError("the target is a merge request: wsprobe attach posts to issues")
    platform = platform or _platform(url, path)
    match = (_GITHUB_PATH if platform == GITHUB else _GITLAB_PATH).fullmatch(path)
    if not match:
        raise UsageError(f"the target is no issue of a {platform.capitalize()[:3]}{platform[3:].capitalize()}: {path}")
    web = f"{url.scheme}://{url.netloc.lower().removeprefix('www.')}{root}"
    return _checked(platform, match[1], match[2], api or _api(_usual_api(platform, web)), web)


def _of_the_job(url: SplitResult) -> str | None:
    """The API of a CI job's own GitLab where that is below a path of the host, as a URL does not tell."""
    job = os.environ.get("CI_API_V4_URL", "")
    root = re.sub(r"api/v\d+$", "", job)
    return _api(job, "CI_API_V4_URL") if job and url.geturl().startswith(root) else None


def _platform(url: SplitResult, path: str) -> str:
    host, parts = url.hostname or "", path.split("/")
    if "/-/" in f"/{path}/" or "gitlab" in host:
        return GITLAB
    if "github" in host or host.endswith(".ghe.com"):
        return GITHUB
    if len(parts) > 2 and parts[2] in {"issues", "pull"}:
        return GITHUB
    if "issues" in parts[3:]:  # groups within groups, as GitLab alone has them
        return GITLAB
    raise UsageError("the target's address does not tell GitHub from GitLab: say --platform github or gitlab")


def _usual_api(platform: str, web: str) -> str:
    scheme, _, host = web.partition("://")
    if platform == GITLAB:
        return f"{web}/api/v4"
    return f"{scheme}://api.{host}" if host == "github.com" or host.endswith(".ghe.com") else f"{web}/api/v3"


def _checked(platform: str, project: str, number: str | None, api: str, web: str) -> Target:
    segments = project.split("/")
    fits = len(segments) == 2 if platform == GITHUB else len(segments) >= 2
    if not fits or not all(_SEGMENT.fullmatch(segment) for segment in segments):
        raise UsageError(f"the target's {project!r} is no project: give {FORMS}")
    if number is not None and not _NUMBER.fullmatch(number):
        raise UsageError(f"the target's {number!r} is no number of an issue")
    return Target(platform=platform, project=project, number=int(number) if number else None, api=api, web=web)


def _api(text: str, what: str = "--api") -> str:
    """Where an API is, without a slash at the end; refused where a token would be read on the way."""
    url = _split(text, what)
    if url.scheme == "http" and not is_loopback(url.hostname or ""):
        raise UsageError(f"http://{url.netloc} is not encrypted and the token would be read on the way: use https")
    if url.query or url.fragment:
        raise UsageError(f"{what}: the address of an API has no query and no fragment")
    return f"{url.scheme}://{url.netloc.lower()}{url.path.rstrip('/')}"


def _split(text: str, what: str) -> SplitResult:
    try:
        url = urlsplit(text)
        port_fits = url.port is None or url.port > 0
    except ValueError:
        url, port_fits = None, False
    if (
        url is None
        or not port_fits
        or url.scheme not in {"http", "https"}
        or not url.hostname
        or not text.isprintable()
    ):
        raise UsageError(f"{what} is no http or https URL")
    if "@" in url.netloc:
        raise UsageError(f"{what} has a user or a password in it: give the token with --token-env")
    return url
