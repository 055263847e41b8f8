"""A report in an issue of GitHub or GitLab: as one's own comment, updated in place, or as a new issue."""

import re
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar
from urllib.parse import quote

from wsprobe.net.forge import Answer, AttachError, Forge, RefusedError

PAGES = 100
"""Pages of a hundred comments that are looked through for one's own."""

_PAGE = 100
_NOT_THERE = frozenset({403, 404, 410})
_GONE = frozenset({404, 410})
_UPLOADED = re.compile(r"/uploads/[0-9a-f]{32}/[A-Za-z0-9_.-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file to be uploaded where the platform takes such."""

    name: str
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class New:
    """The issue that is to be opened."""

    title: str
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """What is to be posted: `body` makes the text from the links of the files that were uploaded, by their names."""

    marker: str
    body: Callable[[Mapping[str, str]], str]
    files: tuple[File, ...]
    new: New | None
    author: str | None


class Platform(ABC):
    """The paths and fields of one platform; a comment and an issue are what its API makes of them."""

    name: ClassVar[str]
    headers: ClassVar[Mapping[str, str]]
    change: ClassVar[str]
    text: ClassVar[str]
    """The field that holds an issue's text."""

    login: ClassVar[str]
    author: ClassVar[str]
    listed: ClassVar[Mapping[str, str]] = {}

    def __init__(self, project: str, number: int | None, web: str) -> None:
        self.project, self.number, self.web = project, number, web

    @property
    @abstractmethod
    def issues(self) -> str:
        """The path of the project's issues."""

    @property
    def issue(self) -> str:
        """The path of the issue."""
        return f"{self.issues}/{self.number}"

    @property
    @abstractmethod
    def comments(self) -> str:
        """The path of the issue's comments."""

    @abstractmethod
    def comment(self, id_: int) -> str:
        """The path of one comment."""

    @abstractmethod
    def address(self, comment: Mapping[str, Any]) -> str:
        """Where a person sees the comment."""

    @abstractmethod
    def opening(self, new: New, body: str) -> dict[str, object]:
        """The fields of a new issue."""

    @abstractmethod
    def opened(self, login: str, marker: str) -> dict[str, str]:
        """The query for the open issues of a user that may hold a marker."""

    @abstractmethod
    def one(self, issue: Mapping[str, Any]) -> tuple[str, str]:
        """The path of an issue that was listed, and where a person sees it."""

    @abstractmethod
    def locked(self, issue: Mapping[str, Any]) -> bool:
        """Whether only some may comment."""

    @property
    def uploads(self) -> str | None:
        """The path that takes files, None where none does."""
        return None


class GitHub(Platform):
    """GitHub, and GitHub Enterprise Server."""

    name = "GitHub"
    headers: ClassVar = {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"}
    change, text, login, author = "PATCH", "body", "login", "user"

    @property
    def issues(self) -> str:
        """The path of the project's issues."""
        return f"/repos/{self.project}/issues"

    @property
    def comments(self) -> str:
        """The path of the issue's comments."""
        return f"{self.issue}/comments"

    def comment(self, id_: int) -> str:
        """The path of one comment."""
        return f"{self.issues}/comments/{id_}"

    def address(self, comment: Mapping[str, Any]) -> str:
        """Where a person sees the comment."""
        return str(comment.get("html_url") or f"{self.web}/{self.project}/issues/{self.number}")

    def opening(self, new: New, body: str) -> dict[str, object]:
        """The fields of a new issue."""
        return {"title": new.title, "body": body, "labels": list(new.labels)}

    def opened(self, login: str, marker: str) -> dict[str, str]:  # noqa: ARG002  GitHub lists and does not search here
        """The query for the open issues of a user that may hold a marker."""
        return {"state": "open", "creator": login}

    def one(self, issue: Mapping[str, Any]) -> tuple[str, str]:
        """The path of an issue that was listed, and where a person sees it."""
        number = _integer(issue, "number")
        return f"{self.issues}/{number}", str(issue.get("html_url") or f"{self.web}/{self.project}/issues/{number}")

    def locked(self, issue: Mapping[str, Any]) -> bool:
        """Whether only some may comment."""
        return issue.get("locked") is True


class GitLab(Platform):
    """GitLab, anyone's."""

    name = "GitLab"
    headers: ClassVar = {"Accept": "application/json"}
    change, text, login, author = "PUT", "description", "username", "author"
    listed: ClassVar = {"sort": "asc", "order_by": "created_at"}

    @property
    def issues(self) -> str:
        """The path of the project's issues."""
        return f"/projects/{quote(self.project, safe='')}/issues"

    @property
    def comments(self) -> str:
        """The path of the issue's comments."""
        return f"{self.issue}/notes"

    def comment(self, id_: int) -> str:
        """The path of one comment."""
        return f"{self.comments}/{id_}"

    def address(self, comment: Mapping[str, Any]) -> str:
        """Where a person sees the comment."""
        return f"{self.web}/{self.project}/-/issues/{self.number}#note_{_integer(comment, 'id')}"

    def opening(self, new: New, body: str) -> dict[str, object]:
        """The fields of a new issue."""
        return {"title": new.title, "description": body, "labels": ",".join(new.labels)}

    def opened(self, login: str, marker: str) -> dict[str, str]:  # noqa: ARG002  GitLab knows whose token it is
        """The query for the open issues of a user that may hold a marker."""
        return {
            "state": "opened",
            "scope": "created_by_me",
            "in": "description",
            "search": marker.strip("<!- >").removeprefix("wsprobe:"),
        }

    def one(self, issue: Mapping[str, Any]) -> tuple[str, str]:
        """The path of an issue that was listed, and where a person sees it."""
        iid = _integer(issue, "iid")
        return f"{self.issues}/{iid}", str(issue.get("web_url") or f"{self.web}/{self.project}/-/issues/{iid}")

    def locked(self, issue: Mapping[str, Any]) -> bool:
        """Whether only some may comment."""
        return issue.get("discussion_locked") is True

    @property
    def uploads(self) -> str | None:
        """The path that takes files."""
        return f"/projects/{quote(self.project, safe='')}/uploads"


PLATFORMS: Mapping[str, type[Platform]] = {"github": GitHub, "gitlab": GitLab}


async def attach(forge: Forge, platform: Platform, post: Post) -> str:
    """Posts it; where a person sees it now. AttachError where that failed."""
    if post.new is not None:
        return await _as_issue(forge, platform, post, post.new)
    earlier = await _earlier(forge, platform, post)
    body = post.body(await _uploads(forge, platform, post.files, str(earlier.get("body")) if earlier else ""))
    try:
        updated = await _updated(forge, platform, earlier, body) if earlier else None
        answer = updated or await forge.ask("POST", platform.comments, body={"body": body})
    except RefusedError as error:
        raise await _explained(forge, platform, error) from None
    where = platform.address(_written(answer.document, platform))
    forge.tell("updated the earlier comment of this trace" if updated else "added a comment")
    return where


async def _updated(forge: Forge, platform: Platform, earlier: Mapping[str, Any], body: str) -> Answer | None:
    """The answer to an update of the earlier comment; None where that was deleted since it was listed."""
    try:
        return await forge.ask(platform.change, platform.comment(_integer(earlier, "id")), body={"body": body})
    except RefusedError as error:
        if error.status not in _GONE:
            raise
        return None


async def _as_issue(forge: Forge, platform: Platform, post: Post, new: New) -> str:
    """Opens an issue, unless one of the same trace by the same user is open: then its text is what is updated."""
    earlier = await _opened(forge, platform, post)
    text = str(earlier.get(platform.text)) if earlier else ""
    body = post.body(await _uploads(forge, platform, post.files, text))
    if earlier is not None:
        path, where = platform.one(earlier)
        await forge.ask(platform.change, path, body={platform.text: body})
        forge.tell("an issue of this trace is open already: updated its text instead of opening another")
        return where
    answer = _written((await forge.ask("POST", platform.issues, body=platform.opening(new, body))).document, platform)
    have = [label.get("name") if isinstance(label, dict) else label for label in answer.get("labels") or ()]
    if dropped := [label for label in new.labels if label not in have and platform.name == GitHub.name]:
        forge.tell(f"opened without the labels {', '.join(dropped)}: {platform.name} drops those of who may not push")
    return platform.one(answer)[1]


async def _earlier(forge: Forge, platform: Platform, post: Post) -> Mapping[str, Any] | None:
    """The latest comment with the marker by the token's own user, who is asked for only where there is a marker."""
    marked = [
        comment
        async for comment in _listed(forge, platform, platform.comments, platform.listed)
        if post.marker in str(comment.get("body")).splitlines()
    ]
    if not marked:
        return None
    name, id_ = await _who(forge, platform, post)
    own = [one for one in marked if _is_by(one.get(platform.author), platform, name, id_)]
    if not own:
        forge.tell("another user's comment of this trace is left as it is")
    return own[-1] if own else None


async def _opened(forge: Forge, platform: Platform, post: Post) -> Mapping[str, Any] | None:
    """An open issue of one's own that holds the marker; None also where issues are not to be listed."""
    try:
        name, id_ = await _who(forge, platform, post)
        async for issue in _listed(forge, platform, platform.issues, platform.opened(name, post.marker)):
            marked = post.marker in str(issue.get(platform.text)).splitlines()
            if marked and _is_by(issue.get(platform.author), platform, name, id_):
                return issue
    except RefusedError as error:
        if error.limit or error.status not in _NOT_THERE:
            raise
        forge.tell(f"whether an issue of this trace is open already is not known: {error}")
    return None


async def _who(forge: Forge, platform: Platform, post: Post) -> tuple[str, int | None]:
    """The user whose comments may be updated: the one that was named, or whose token it is."""
    if post.author is not None:
        return post.author, None
    try:
        user = _mapping((await forge.ask("GET", "/user")).document, platform)
    except RefusedError as error:
        if error.limit or error.status != 403:  # such as the token of a workflow, which is an app's
            raise
        message = f"{error}; whose token it is was not told: name its user, as in --author 'github-actions[bot]'"
        raise RefusedError(message, error.status) from None
    return str(user.get(platform.login)), _integer(user, "id")


def _is_by(author: object, platform: Platform, name: str, id_: int | None) -> bool:
    if not isinstance(author, dict):  # a user that is gone
        return False
    return author.get("id") == id_ if id_ is not None else author.get(platform.login) == name


async def _listed(
    forge: Forge, platform: Platform, path: str, query: Mapping[str, str]
) -> AsyncIterator[Mapping[str, Any]]:
    """Everything in a list, page by page."""
    for page in range(1, PAGES + 1):
        asked = {**query, "per_page": str(_PAGE), "page": str(page)}
        answer = await forge.ask("GET", path, query=asked)
        if not isinstance(answer.document, list):
            raise AttachError(_foreign(platform, "no list"))
        for one in answer.document:
            yield _mapping(one, platform)
        if not answer.document or (not answer.more and len(answer.document) < _PAGE):
            return
    raise AttachError(f"more than {PAGES * _PAGE} of them: whether one is an earlier one of this trace is not known")


async def _uploads(forge: Forge, platform: Platform, files: Sequence[File], earlier: str) -> dict[str, str]:
    """The links of the files by their names; one that the earlier text links to is not uploaded again."""
    if platform.uploads is None:
        return {}
    links: dict[str, str] = {}
    known = {link.rpartition("/")[2]: link for link in _UPLOADED.findall(earlier)}
    for file in files:
        if file.name in known:
            links[file.name] = known[file.name]
            continue
        try:
            answer = await forge.ask("POST", platform.uploads, file=(file.name, file.content))
        except RefusedError as error:
            if error.limit or error.status == 401:
                raise
            forge.tell(f"{file.name} was not uploaded: {error}")
            continue
        link = _mapping(answer.document, platform).get("url")
        if isinstance(link, str) and _UPLOADED.fullmatch(link):
            links[file.name] = link
    return links


async def _explained(forge: Forge, platform: Platform, error: RefusedError) -> RefusedError:
    """A refusal to comment, and that the issue is locked where it is."""
    if error.limit or error.status not in _NOT_THERE:
        return error
    try:
        issue = (await forge.ask("GET", platform.issue)).document
    except AttachError:
        return error
    if not isinstance(issue, dict) or not platform.locked(issue):
        return error
    return RefusedError(f"the issue is locked, and this token's user may not comment on it: {error}", error.status)


def _written(document: object, platform: Platform) -> Mapping[str, Any]:
    """What a server says that it wrote; where that cannot be read, it may still be there."""
    try:
        answer = _mapping(document, platform)
        _integer(answer, "id")
    except AttachError as error:
        raise AttachError(str(error), unknown=True) from None
    return answer


def _foreign(platform: Platform, what: str) -> str:
    return f"the answer is JSON, and {what}: is it the address of {platform.name}'s API?"


def _mapping(document: object, platform: Platform) -> Mapping[str, Any]:
    if not isinstance(document, dict):
        raise AttachError(_foreign(platform, "no object"))
    return document


def _integer(document: Mapping[str, Any], name: str) -> int:
    value = document.get(name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise AttachError(f"the answer has no {name}: is it the address of the API?")
    return value
