"""Issue trackers on loopback, held to what their makers publish: GitHub's OpenAPI description, GitLab's documentation.

Every request that comes and every answer that goes is checked; `wrong` holds what does not fit.
"""

import copy
import json
import re
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qsl, quote, urlsplit

import pytest
from jsonschema import Draft4Validator
from referencing import Registry
from referencing.jsonschema import DRAFT4

OPENAPI = Path(__file__).parent / "node/node_modules/@octokit/openapi/generated/api.github.com.json"
TOKEN = "ghp_" + "s3cr3tT0k3nOfTheTests" * 2
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Asked:
    """One request as it came."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> Json:
        """Its JSON."""
        found: Json = json.loads(self.body)
        return found


@dataclass(frozen=True, slots=True)
class Says:
    """One answer."""

    status: int
    document: Any = None
    headers: dict[str, str] = field(default_factory=dict)


class Tracker:
    """A server with one issue, its comments, and what is to go wrong next."""

    root = ""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._scheme = "https" if tls else "http"
        self.asked: list[Asked] = []
        self.wrong: list[str] = []
        self.comments: list[Json] = []
        self.opened: list[Json] = []
        self.locked = False
        self.trouble: Callable[[Asked], Says | None] = lambda _: None
        """What is answered instead; None for the usual answer. Raising ConnectionError drops the connection."""

        tracker = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                tracker._answer(self)

            do_GET = do_POST = do_PATCH = do_PUT = answer  # noqa: N815  the library's own names

            def log_message(self, *_: object) -> None:
                """Says nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if tls:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a client that hangs up is wanted
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        url = urlsplit(handler.path)
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        if handler.headers.get("Transfer-Encoding") == "chunked":
            body = dechunked(handler)
        headers = {name.lower(): value for name, value in handler.headers.items()}
        asked = Asked(handler.command, url.path, dict(parse_qsl(url.query)), headers, body)
        self.asked.append(asked)
        try:
            says = self.trouble(asked) or self.answer(asked)
        except ConnectionError:
            handler.close_connection = True
            return
        if asked.path.startswith(self.root):
            self.wrong += [f"{asked.method} {asked.path}: {why}" for why in self.check(asked, says)]
        text = says.document if isinstance(says.document, bytes) else json.dumps(says.document).encode()
        handler.send_response(says.status)
        for name, value in says.headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(text)))
        handler.end_headers()
        handler.wfile.write(text)

    def answer(self, asked: Asked) -> Says:
        """The usual answer."""
        if asked.headers.get("authorization") != f"Bearer {TOKEN}":
            return Says(401, self.no("Bad credentials"))
        path = asked.path.removeprefix(self.root)
        for method, pattern, answer in self.routes():
            if method == asked.method and (match := re.fullmatch(pattern, path)):
                return answer(asked, *map(int, match.groups()))
        return Says(404, self.no("Not Found"))

    def routes(self) -> list[tuple[str, str, Callable[..., Says]]]:
        """Method, path, and what answers there."""
        raise NotImplementedError

    def no(self, why: str) -> Json:
        """A refusal in the platform's form."""
        return {"message": why}

    def check(self, asked: Asked, says: Says) -> Iterator[str]:
        """What does not fit to what is published."""
        raise NotImplementedError

    def paged(self, asked: Asked, items: list[Json]) -> Says:
        """One page of a list, with the header that tells of the next one."""
        size, page = int(asked.query.get("per_page", "30")), int(asked.query.get("page", "1"))
        shown = items[(page - 1) * size : page * size]
        more = page * size < len(items)
        link = {"Link": f'<{self.url}{asked.path}?page={page + 1}>; rel="next"'} if more else {}
        return Says(200, shown, link)


def dechunked(handler: BaseHTTPRequestHandler) -> bytes:
    found = b""
    while size := int(handler.rfile.readline(), 16):
        found += handler.rfile.read(size)
        handler.rfile.readline()
    handler.rfile.readline()
    return found


# GitHub, by its OpenAPI description.


@cache
def description() -> Json:
    """GitHub's own description of its API."""
    if not OPENAPI.is_file():
        pytest.skip("@octokit/openapi is not installed: npm ci --ignore-scripts in tests/node")
    found: Json = json.loads(OPENAPI.read_bytes())
    return found


@cache
def registry() -> Registry[Any]:
    empty: Registry[Any] = Registry()
    made: Registry[Any] = empty.with_resource("urn:github", DRAFT4.create_resource(_nullable(description())))
    return made


def _nullable(schema: Any) -> Any:  # noqa: ANN401  any part of a schema
    """OpenAPI 3.0's `nullable` in JSON Schema's words."""
    if isinstance(schema, list):
        return [_nullable(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: _nullable(value) for key, value in schema.items()}
    return {"anyOf": [made, {"type": "null"}]} if made.pop("nullable", None) is True else made


def example(name: str) -> Json:
    """One of the examples in the description."""
    found: Json = copy.deepcopy(description()["components"]["examples"][name]["value"])
    return found


class GitHubTracker(Tracker):
    """GitHub Enterprise Server: the API is below /api/v3."""

    root = "/api/v3"

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        description()  # here a test can be left out, in a thread of the server not
        super().__init__(tls)

    def routes(self) -> list[tuple[str, str, Callable[..., Says]]]:
        chat = "/repos/octo-org/chat/issues"
        return [
            ("GET", "/user", lambda _: Says(200, {**example("private-user"), "id": 1, "login": "octocat"})),
            ("GET", chat, lambda asked: self.paged(asked, self.opened)),
            ("POST", chat, self._open),
            ("GET", f"{chat}/5", lambda _: Says(200, {**example("issue"), "number": 5, "locked": self.locked})),
            ("GET", f"{chat}/5/comments", lambda asked: self.paged(asked, self.comments)),
            ("POST", f"{chat}/5/comments", self._add),
            ("PATCH", f"{chat}/comments/(\\d+)", self._change),
            ("PATCH", f"{chat}/(\\d+)", self._edit),
        ]

    def no(self, why: str) -> Json:
        return {"message": why, "documentation_url": "https://docs.github.com/rest"}

    def comment(self, body: str, user: int = 1, login: str = "octocat") -> Json:
        """A comment by somebody."""
        made = example("issue-comment")
        made.update(id=100 + len(self.comments), body=body, user={**made["user"], "id": user, "login": login})
        made["html_url"] = f"{self.url}/octo-org/chat/issues/5#issuecomment-{made['id']}"
        self.comments.append(made)
        return made

    def _add(self, asked: Asked) -> Says:
        if self.locked:
            return Says(403, self.no("Unable to create comment because issue is locked."))
        return Says(201, self.comment(asked.document["body"]))

    def _change(self, asked: Asked, number: int) -> Says:
        comment = next(one for one in self.comments if one["id"] == number)
        comment["body"] = asked.document["body"]
        return Says(200, comment)

    def _edit(self, asked: Asked, number: int) -> Says:
        issue = next(one for one in self.opened if one["number"] == number)
        issue.update(asked.document)
        return Says(200, issue)

    def _open(self, asked: Asked) -> Says:
        made = example("issue")
        number = 40 + len(self.opened)
        labels = [{**made["labels"][0], "name": name} for name in asked.document["labels"] if name != "secret"]
        made.update(number=number, body=asked.document["body"], title=asked.document["title"], labels=labels)
        made.update(html_url=f"{self.url}/octo-org/chat/issues/{number}", user={**made["user"], "id": 1})
        self.opened.append(made)
        return Says(201, made)

    def check(self, asked: Asked, says: Says) -> Iterator[str]:
        path = asked.path.removeprefix(self.root)
        found = _operation(path, asked.method.lower())
        if found is None:
            yield "the description has no such operation"
            return
        at, operation = found
        known = {_resolved(one)["name"]: _resolved(one) for one in operation.get("parameters", [])}
        for name, value in asked.query.items():
            if name not in known or known[name]["in"] != "query":
                yield f"no parameter {name}"
            else:
                typed = int(value) if known[name]["schema"].get("type") == "integer" else value
                yield from _faults(typed, known[name]["schema"])
        if "requestBody" in operation:
            schema = f"{at}/requestBody/content/application~1json/schema"
            properties = operation["requestBody"]["content"]["application/json"]["schema"]["properties"]
            yield from _faults(asked.document, {"$ref": f"urn:github#{schema}"})
            yield from (f"no field {name}" for name in asked.document if name not in properties)
        elif asked.body:
            yield "a body that is not asked for"
        # A limit of the rate and a failure of the server are told of elsewhere in the documentation, for every path.
        if str(says.status) in operation["responses"]:
            answer = _resolved(operation["responses"][str(says.status)])
            for content in answer.get("content", {}).values():
                yield from _faults(says.document, _absolute(content["schema"]))
                break
        elif says.status not in {301, 307, 401, 403, 404, 410, 429} and says.status < 500:
            yield f"an answer {says.status} that the description does not have"


@cache
def _operation(path: str, method: str) -> tuple[str, Json] | None:
    """Where in the description the operation stands, and what it says; words count more than placeholders."""
    found = [
        template
        for template, methods in description()["paths"].items()
        if method in methods and re.fullmatch(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(template)), path)
    ]
    if not found:
        return None
    template = min(found, key=lambda one: str(one).count("{"))
    return f"/paths/{template.replace('/', '~1')}/{method}", description()["paths"][template][method]


def _resolved(part: Json) -> Json:
    while "$ref" in part:
        found: Any = description()
        for step in part["$ref"].removeprefix("#/").split("/"):
            found = found[step.replace("~1", "/").replace("~0", "~")]
        part = found
    return part


def _absolute(schema: Json) -> Json:
    """A schema whose references are into the description wherever it stands itself."""
    text = json.dumps(_nullable(schema)).replace('"$ref": "#/', '"$ref": "urn:github#/')
    made: Json = json.loads(text)
    return made


def _faults(value: object, schema: Json) -> Iterator[str]:
    for error in Draft4Validator(schema, registry=registry()).iter_errors(value):
        yield f"{error.json_path}: {error.message[:300]}"


# GitLab, by https://docs.gitlab.com/api/notes, /api/issues, /api/project_markdown_uploads and /api/users.

TEXT, NUMBER, FLAG = {"type": "string"}, {"type": "integer"}, {"type": "boolean"}


def documented(**fields: Any) -> Json:  # noqa: ANN401  schemas
    """An object with these fields and no other; those of an answer are all there."""
    return {"type": "object", "properties": fields, "additionalProperties": False}


USER = documented(id=NUMBER, username=TEXT, name=TEXT, state=TEXT, avatar_url=TEXT, web_url=TEXT)
NOTE_FIELDS = {
    "id": NUMBER,
    "body": TEXT,
    "author": USER,
    "created_at": TEXT,
    "updated_at": TEXT,
    "system": FLAG,
    "noteable_id": NUMBER,
    "noteable_type": TEXT,
    "project_id": NUMBER,
    "noteable_iid": NUMBER,
    "resolvable": FLAG,
    "confidential": FLAG,
    "internal": FLAG,
    "imported": FLAG,
    "imported_from": TEXT,
}
NOTE = {**documented(**NOTE_FIELDS), "required": list(NOTE_FIELDS)}
ISSUE_FIELDS = {
    "id": NUMBER,
    "iid": NUMBER,
    "project_id": NUMBER,
    "title": TEXT,
    "description": TEXT,
    "state": TEXT,
    "labels": {"type": "array", "items": TEXT},
    "author": USER,
    "web_url": TEXT,
    "discussion_locked": FLAG,
}
ISSUE = {**documented(**ISSUE_FIELDS), "required": list(ISSUE_FIELDS)}
UPLOAD_FIELDS = {"id": NUMBER, "alt": TEXT, "url": TEXT, "full_path": TEXT, "markdown": TEXT}
UPLOAD = {**documented(**UPLOAD_FIELDS), "required": list(UPLOAD_FIELDS)}
ERROR = {"type": "object", "properties": {"message": {}, "error": TEXT}, "minProperties": 1}
PAGE = {"per_page": {"pattern": r"^(100|[1-9]\d?)$"}, "page": {"pattern": r"^[1-9]\d*$"}}
LISTED = documented(**PAGE, sort={"enum": ["asc", "desc"]}, order_by={"enum": ["created_at", "updated_at"]})
SEARCHED = documented(
    **PAGE, state={"enum": ["opened", "closed"]}, scope={"enum": ["created_by_me", "all"]}, search=TEXT, **{"in": TEXT}
)
OPENING = {**documented(title={**TEXT, "maxLength": 255}, description=TEXT, labels=TEXT), "required": ["title"]}
WRITTEN = {**documented(body={**TEXT, "maxLength": 1_000_000}), "required": ["body"]}
NOTHING = documented()
PROJECT = r"/projects/[^/]+"

GITLAB: list[tuple[str, str, Json, Json | None, int, Json]] = [
    # method, path, query, body, status, answer
    ("GET", "/user", NOTHING, None, 200, {"type": "object", "required": ["id", "username"]}),
    ("GET", f"{PROJECT}/issues/\\d+/notes", LISTED, None, 200, {"type": "array", "items": NOTE}),
    ("POST", f"{PROJECT}/issues/\\d+/notes", NOTHING, WRITTEN, 201, NOTE),
    ("PUT", f"{PROJECT}/issues/\\d+/notes/\\d+", NOTHING, WRITTEN, 200, NOTE),
    ("GET", f"{PROJECT}/issues", SEARCHED, None, 200, {"type": "array", "items": ISSUE}),
    ("POST", f"{PROJECT}/issues", NOTHING, OPENING, 201, ISSUE),
    ("GET", f"{PROJECT}/issues/\\d+", NOTHING, None, 200, ISSUE),
    ("PUT", f"{PROJECT}/issues/\\d+", NOTHING, documented(description=TEXT), 200, ISSUE),
    ("POST", f"{PROJECT}/uploads", NOTHING, None, 201, UPLOAD),
]


class GitLabTracker(Tracker):
    """GitLab: the API is below /api/v4."""

    root = "/api/v4"
    project = "group/sub/chat"

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(tls)
        self.uploaded: dict[str, bytes] = {}

    def routes(self) -> list[tuple[str, str, Callable[..., Says]]]:
        chat = f"/projects/{quote(self.project, safe='')}"
        return [
            ("GET", "/user", lambda _: Says(200, {"id": 7, "username": "pipin"})),
            ("POST", f"{chat}/uploads", self._upload),
            ("GET", f"{chat}/issues", lambda asked: self.paged(asked, self.opened)),
            ("POST", f"{chat}/issues", self._open),
            ("GET", f"{chat}/issues/5", lambda _: Says(200, self._issue(5, "t", "", []))),
            ("PUT", f"{chat}/issues/(\\d+)", self._edit),
            ("GET", f"{chat}/issues/5/notes", lambda asked: self.paged(asked, self.comments)),
            ("POST", f"{chat}/issues/5/notes", self._add),
            ("PUT", f"{chat}/issues/5/notes/(\\d+)", self._change),
        ]

    def _add(self, asked: Asked) -> Says:
        if self.locked:
            return Says(403, self.no("403 Forbidden"))
        return Says(201, self.comment(asked.document["body"]))

    def _change(self, asked: Asked, number: int) -> Says:
        note = next(one for one in self.comments if one["id"] == number)
        note["body"] = asked.document["body"]
        return Says(200, note)

    def _edit(self, asked: Asked, number: int) -> Says:
        issue = next(one for one in self.opened if one["iid"] == number)
        issue.update(asked.document)
        return Says(200, issue)

    def comment(self, body: str, user: int = 7, login: str = "pipin") -> Json:
        """A note by somebody."""
        number = 300 + len(self.comments)
        made = {
            "id": number,
            "body": body,
            "author": self._user(user, login),
            "created_at": "2026-03-02T10:15:04Z",
            "updated_at": "2026-03-02T10:15:04Z",
            "system": False,
            "noteable_id": 377,
            "noteable_type": "Issue",
            "project_id": 5,
            "noteable_iid": 5,
            "resolvable": False,
            "confidential": False,
            "internal": False,
            "imported": False,
            "imported_from": "none",
        }
        self.comments.append(made)
        return made

    def _user(self, number: int, login: str) -> Json:
        address = f"{self.url}/{login}"
        return {
            "id": number,
            "username": login,
            "name": login,
            "state": "active",
            "avatar_url": address,
            "web_url": address,
        }

    def _issue(self, iid: int, title: str, text: str, labels: list[str]) -> Json:
        return {
            "id": 1000 + iid,
            "iid": iid,
            "project_id": 5,
            "title": title,
            "description": text,
            "state": "opened",
            "labels": labels,
            "author": self._user(7, "pipin"),
            "discussion_locked": self.locked,
            "web_url": f"{self.url}/{self.project}/-/issues/{iid}",
        }

    def _open(self, asked: Asked) -> Says:
        sent = asked.document
        made = self._issue(40 + len(self.opened), sent["title"], sent["description"], sent["labels"].split(","))
        self.opened.append(made)
        return Says(201, made)

    def _upload(self, asked: Asked) -> Says:
        match = re.search(rb'name="file"; filename="([^"]+)"\r\n(?:[^\r\n]+\r\n)*\r\n(.*)\r\n--', asked.body, re.DOTALL)
        assert match, asked.body[:500]
        name = match[1].decode()
        self.uploaded[name] = match[2]
        url = f"/uploads/66dbcd21ec5d24ed6ea225176098d52b/{name}"
        made = {"id": 5, "alt": name, "url": url, "full_path": f"/-/project/5{url}", "markdown": f"[{name}]({url})"}
        return Says(201, made)

    def check(self, asked: Asked, says: Says) -> Iterator[str]:
        path = asked.path.removeprefix(self.root)
        rows = [row for row in GITLAB if row[0] == asked.method and re.fullmatch(row[1], path)]
        if not rows:
            yield "the documentation has no such operation"
            return
        _, _, query, body, status, answer = rows[0]
        yield from _plain_faults(asked.query, query)
        if body is not None:
            yield from _plain_faults(asked.document, body)
        yield from _plain_faults(says.document, answer if says.status == status else ERROR)
        if says.status < 300 and says.status != status:
            yield f"answered {says.status} where {status} is documented"


def _plain_faults(value: object, schema: Json) -> Iterator[str]:
    for error in Draft4Validator(schema).iter_errors(value):
        yield f"{error.json_path}: {error.message[:300]}"
