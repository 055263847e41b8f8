"""The pytest plugin, run by pytest on tests that fail against real servers of websockets and aiohttp."""

import asyncio
import os
import re
import subprocess
import sys
import threading
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import aiohttp
import httpx
import pytest
from aiohttp import WSCloseCode, web
from httpx_ws import connect_ws
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response
from websockets.sync.server import serve as sync_serve

from tests.backend import Backend
from tests.test_secrets import Vault
from tests.tls import self_signed
from wsprobe import raised
from wsprobe.pytest import _authorities, _ending
from wsprobe.redact import redact

pytest_plugins = ["pytester"]

SECONDS = 20


@dataclass
class Served:
    """Where both servers listen, and the Authorization of each request that they got."""

    websockets: int = 0
    aiohttp: int = 0
    got: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    """Servers of both libraries, in a thread; the path says what each does."""
    found, ready, stop = Served(), threading.Event(), asyncio.Event()
    loops: list[asyncio.AbstractEventLoop] = []

    async def main() -> None:
        loops.append(asyncio.get_running_loop())
        runner = web.AppRunner(aiohttp_app(found))
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        async with serve(handler, "127.0.0.1", 0, process_request=lambda *words: refuse(found, *words)) as server:
            found.websockets = next(iter(server.sockets)).getsockname()[1]
            found.aiohttp = runner.addresses[0][1]
            ready.set()
            await stop.wait()
        await runner.cleanup()

    thread = threading.Thread(target=asyncio.run, args=(main(),), daemon=True)
    thread.start()
    assert ready.wait(SECONDS)
    yield found
    loops[0].call_soon_threadsafe(stop.set)
    thread.join(SECONDS)


async def handler(connection: ServerConnection) -> None:
    """Closes with the code that the path names and with the secret that the client sent, or lets the TCP go."""
    assert connection.request
    path = connection.request.path
    if path.startswith("/abort"):
        connection.transport.abort()
        return
    code = re.match(r"/(\d{4})", path)
    token = connection.request.headers.get("Authorization", "nobody")
    await connection.close(int(code[1]) if code else 1000, f"not you: {token}"[:120])


def refuse(found: Served, connection: ServerConnection, request: Request) -> Response | None:
    """Refuses with what the client sent in the body."""
    token = request.headers.get("Authorization", "")
    found.got.append(token)
    if not request.path.startswith("/refuse"):
        return None
    response = connection.respond(403, f"no entry for {token} <script>\x1b[2J\n")
    response.headers["X-Node"] = "node-7"
    return response


def aiohttp_app(found: Served) -> web.Application:
    async def answer(request: web.Request) -> web.StreamResponse:
        found.got.append(request.headers.get("Authorization", ""))
        if request.path == "/refuse":
            raise web.HTTPUnauthorized(headers={"X-Node": "node-8"}, text=f"bad {request.query_string}")
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        if request.path == "/abort":
            assert request.transport
            request.transport.abort()
            return socket
        await socket.close(code=WSCloseCode.INTERNAL_ERROR, message=b"the database is away")
        return socket

    app = web.Application()
    app.router.add_get("/{tail:.*}", answer)
    return app


CLIENTS = """\
import asyncio
import os

import pytest

WEBSOCKETS = "ws://127.0.0.1:{websockets}"
AIOHTTP = "ws://127.0.0.1:{aiohttp}"
HEADERS = {{"Authorization": "Bearer " + os.environ["TOKEN"], "Cookie": "sid=" + os.environ["COOKIE"]}}
QUERY = "?room=7&token=" + os.environ["QUERY"]
"""

TESTS = {
    "websockets": """
def test_it():
    from websockets.sync.client import connect

    with connect(WEBSOCKETS + "/1011" + QUERY, additional_headers=HEADERS) as ws:
        ws.recv()
""",
    "websockets in asyncio, in a group": """
def test_it():
    from websockets.asyncio.client import connect

    async def talk():
        async with connect(WEBSOCKETS + "/1011" + QUERY, additional_headers=HEADERS) as ws:
            await ws.recv()

    async def main():
        async with asyncio.TaskGroup() as group:
            group.create_task(talk())

    asyncio.run(main())
""",
    "websockets refused": """
def test_it():
    from websockets.sync.client import connect

    connect(WEBSOCKETS + "/refuse" + QUERY, additional_headers=HEADERS)
""",
    "websockets without a close frame": """
def test_it():
    from websockets.sync.client import connect

    with connect(WEBSOCKETS + "/abort" + QUERY, additional_headers=HEADERS) as ws:
        ws.recv()
""",
    "websockets refused in asyncio": """
def test_it():
    from websockets.asyncio.client import connect

    async def main():
        try:
            async with connect(WEBSOCKETS + "/refuse" + QUERY, additional_headers=HEADERS):
                pass
        except Exception as error:
            raise RuntimeError("no connection") from error

    asyncio.run(main())
""",
    "websockets in a fixture": """
@pytest.fixture
def ws():
    from websockets.sync.client import connect

    with connect(WEBSOCKETS + "/1011" + QUERY, additional_headers=HEADERS) as ws:
        yield ws

def test_it(ws):
    ws.recv()
""",
    "aiohttp": """
def test_it():
    import aiohttp

    async def main():
        async with aiohttp.ClientSession() as session:
            async with session.ws_connect(AIOHTTP + "/ws" + QUERY, headers=HEADERS) as ws:
                message = await ws.receive()
                assert message.type == aiohttp.WSMsgType.TEXT

    asyncio.run(main())
""",
    "aiohttp without the message": """
def test_it():
    import aiohttp

    async def main():
        async with aiohttp.ClientSession() as session:
            async with session.ws_connect(AIOHTTP + "/ws" + QUERY, headers=HEADERS) as ws:
                await ws.receive_str()

    asyncio.run(main())
""",
    "aiohttp in a closure": """
def test_it():
    import aiohttp

    async def main():
        async with aiohttp.ClientSession() as session:
            ws = await session.ws_connect(AIOHTTP + "/ws" + QUERY, headers=HEADERS)

            async def talk():
                await ws.receive()
                raise KeyError("the answer")

            await talk()

    asyncio.run(main())
""",
    "aiohttp that sends later": """
def test_it():
    import aiohttp

    async def main():
        async with aiohttp.ClientSession() as session:
            async with session.ws_connect(AIOHTTP + "/ws" + QUERY, headers=HEADERS) as ws:
                await ws.receive()
                await ws.send_str("hello")

    asyncio.run(main())
""",
    "aiohttp without a close frame": """
def test_it():
    import aiohttp

    async def main():
        async with aiohttp.ClientSession() as session:
            async with session.ws_connect(AIOHTTP + "/abort" + QUERY, headers=HEADERS) as ws:
                message = await ws.receive()
                assert message.type is aiohttp.WSMsgType.TEXT

    asyncio.run(main())
""",
    "websockets of old": """
@pytest.mark.filterwarnings("ignore")
def test_it():
    from websockets.legacy.client import connect

    async def main():
        async with connect(WEBSOCKETS + "/1011" + QUERY, extra_headers=HEADERS) as ws:
            await ws.recv()

    asyncio.run(main())
""",
    "websockets of old, refused": """
@pytest.mark.filterwarnings("ignore")
def test_it():
    from websockets.legacy.client import connect

    async def main():
        async with connect(WEBSOCKETS + "/refuse" + QUERY, extra_headers=HEADERS):
            pass

    asyncio.run(main())
""",
    "aiohttp refused": """
def test_it():
    import aiohttp

    async def main():
        async with aiohttp.ClientSession() as session:
            async with session.ws_connect(AIOHTTP + "/refuse" + QUERY, headers=HEADERS):
                pass

    asyncio.run(main())
""",
    "httpx-ws": """
def test_it():
    import httpx
    from httpx_ws import connect_ws

    with httpx.Client() as client:
        with connect_ws(WEBSOCKETS + "/1011" + QUERY, client, headers=HEADERS) as ws:
            ws.receive_text()
""",
    "httpx-ws in asyncio": """
def test_it():
    import httpx
    from httpx_ws import aconnect_ws

    async def main():
        async with httpx.AsyncClient() as client:
            async with aconnect_ws(WEBSOCKETS + "/1011" + QUERY, client, headers=HEADERS) as ws:
                await ws.receive_text()

    asyncio.run(main())
""",
    "httpx-ws refused": """
def test_it():
    import httpx
    from httpx_ws import connect_ws

    with httpx.Client() as client:
        with connect_ws(WEBSOCKETS + "/refuse" + QUERY, client, headers=HEADERS) as ws:
            pass
""",
}  # fmt: skip


@dataclass
class Ran:
    """What one run of pytest printed, and the secrets that were in its tests."""

    status: int
    text: str
    vault: Vault

    def sections(self) -> list[str]:
        """What the plugin told; the tracebacks beside it are pytest's own, and say what a library says."""
        parts = re.split(r"^(?:[-_=]+ (.+?) [-_=]+|FAILED .*)$", self.text, flags=re.MULTILINE)
        return [
            f"{title}\n{body.strip()}\n" for title, body in pairwise(parts) if title and title.startswith("wsprobe")
        ]


def planted() -> tuple[Vault, dict[str, str]]:
    """Secrets, and the environment that hands them to the tests."""
    vault = Vault()
    env = {"TOKEN": vault.jwt("Authorization", short=True)}
    for place, name in (("Cookie", "COOKIE"), ("query", "QUERY")):
        env[name] = vault.planted[place] = vault.new(place).translate(str.maketrans("+/=", "abc"))
    return vault, env | {"PYTHONPATH": str(Path(__file__).parent.parent)}


def module(served: Served, *tests: str) -> str:
    return CLIENTS.format(websockets=served.websockets, aiohttp=served.aiohttp) + "".join(tests)


@pytest.fixture
def runs(pytester: pytest.Pytester, served: Served, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ran]:
    """Runs pytest on tests with secrets."""
    vault, env = planted()
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)

    def run(test: str, *words: str) -> Ran:
        pytester.makepyfile(module(served, test))
        result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "--tb=short", *words, timeout=60)
        return Ran(int(result.ret), result.stdout.str(), vault)

    return run


@pytest.fixture(scope="module")
def explained(served: Served, tmp_path_factory: pytest.TempPathFactory) -> tuple[Vault, dict[str, str]]:
    """One run of all tests above, and the section of each by its name."""
    folder = tmp_path_factory.mktemp("failing")
    numbered = [
        text.replace("test_it", f"test_{number}").replace("ws()", f"ws_{number}()").replace("(ws)", f"(ws_{number})")
        for number, text in enumerate(TESTS.values())
    ]
    names = list(TESTS)
    numbered[names.index("websockets in a fixture")] = numbered[names.index("websockets in a fixture")].replace(
        "    ws.recv", f"    ws_{names.index('websockets in a fixture')}.recv"
    )
    (folder / "test_all.py").write_text(module(served, *numbered))
    vault, env = planted()
    words = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "-p",
        "wsprobe.pytest",
        "--tb=short",
        "test_all.py",
    ]
    done = subprocess.run(
        words,
        check=False,
        cwd=folder,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=60,
    )
    found = Ran(done.returncode, done.stdout, vault).sections()
    assert len(found) == len(TESTS), done.stdout + done.stderr
    return vault, dict(zip(TESTS, found, strict=True))


@pytest.mark.parametrize("name", TESTS)
def test_a_failed_test_tells_of_its_connection_and_no_secret(
    name: str, explained: tuple[Vault, dict[str, str]]
) -> None:
    vault, section = explained[0], explained[1][name]
    title, url, *_ = section.splitlines()
    assert title == "wsprobe: the WebSocket connection"
    assert re.match(r"ws://127\.0\.0\.1:\d+/\w+\?room=7&token=\[withheld \d+ characters", url), section
    assert re.search(r"^request: GET /\w+\?room=7&token=\[withheld", section, re.MULTILINE)
    assert re.search(r"^  authorization: Bearer \[withheld", section, re.MULTILINE | re.IGNORECASE)
    assert re.search(r"^time: the test failed \d+\.\d\d s after its call began", section, re.MULTILINE)
    if "refused" in name:
        assert re.search(r"^response: HTTP/1.1 40[13]", section, re.MULTILINE)
        assert re.search(r"^  x-node: node-[78]", section, re.MULTILINE | re.IGNORECASE)
        assert (
            name.startswith(("aiohttp", "httpx", "websockets of old"))
            or "body: no entry for Bearer [withheld" in section
        )
    else:
        assert re.search(r"^response: HTTP/1.1 101", section, re.MULTILINE)
        assert "without a close frame" in name or "1011 (internal error)" in section
    assert vault.leaks(section) == []
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f]", section)


def test_the_direction_of_a_close_is_told(explained: tuple[Vault, dict[str, str]]) -> None:
    _, found = explained
    received = r"^ended: received 1011 \(internal error\) not you: Bearer \[withheld.*; then sent 1011"
    for name in ("websockets", "websockets in asyncio, in a group", "websockets in a fixture"):
        assert re.search(received, found[name], re.MULTILINE), found[name]
        assert "ended: the server closed first" in found[name]
    assert "ended: received 1011 (internal error) not you" in found["httpx-ws"]
    assert "ended: received 1011 (internal error) the database is away" in found["aiohttp"]
    assert "ended: received 1011 (internal error) the database" in found["aiohttp without the message"]
    assert "it does not tell whose frame" in found["aiohttp that sends later"]
    assert re.search("if any|no close frame", found["aiohttp without a close frame"])
    assert "no close frame received or sent" in found["websockets without a close frame"]


def test_a_trace_of_the_same_url_with_the_same_credential_is_attached_once(
    runs: Callable[..., Ran], served: Served, pytester: pytest.Pytester
) -> None:
    twice = TESTS["websockets"] + TESTS["websockets"].replace("test_it", "test_again")
    served.got.clear()
    ran = runs(twice, "-p", "wsprobe.pytest", "--wsprobe-trace", "--junitxml=junit.xml")
    traced = [section for section in ran.sections() if section.startswith("wsprobe: a trace of ws://127.0.0.1")]
    assert len(traced) == 2, ran.text
    assert "closed-by-origin" in traced[0]
    assert re.search(r"^made at \S+::test_it$", traced[1], re.MULTILINE)
    assert [section for section in ran.sections() if ran.vault.leaks(section)] == []
    bearers = [got for got in served.got if got.startswith("Bearer ")]
    assert len(bearers) >= 3, "two tests and one trace"
    assert len(set(bearers)) == 1
    xml = (pytester.path / "junit.xml").read_text()
    assert re.search(r'<property name="wsprobe" value="ws://\S+\?room=7&amp;token=\[withheld [^"]+received 1011', xml)


def test_a_failure_of_a_teardown_is_told_and_traced_by_ones_own_authority(
    runs: Callable[..., Ran], pytester: pytest.Pytester
) -> None:
    files = self_signed(pytester.path)
    pytester.makeini(f"[pytest]\nwsprobe_cacert = {files.cert.name}\n")
    test = """
import pytest
import ssl
import websockets.sync.client as sync_client

@pytest.fixture
def ws():
    trusted = ssl.create_default_context(cafile=CERT)
    with sync_client.connect(URL, ssl=trusted) as ws:
        yield ws
        ws.recv()

def test_it(ws):
    pass
"""
    with sync_serve(lambda ws: ws.close(1011, "not you"), "127.0.0.1", 0, ssl=files.server()) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"wss://127.0.0.1:{server.socket.getsockname()[1]}/ws"
        named = test.replace("CERT", repr(str(files.cert))).replace("URL", repr(url))
        ran = runs(named, "--wsprobe-trace", "--junitxml=junit.xml", "-p", "wsprobe.pytest")
        server.shutdown()
    told, traced = ran.sections()
    assert "received 1011 (internal error) not you" in told
    assert "closed-by-origin" in traced, traced
    assert f'<property name="wsprobe" value="{url}: received 1011' in (pytester.path / "junit.xml").read_text()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((), None),
        (("--wsprobe-cacert", "sub/ca.pem"), "sub/ca.pem"),
        (("-o", "wsprobe_cacert=ca.pem"), "ca.pem"),
        (("-o", "wsprobe_cacert=ca.pem", "--wsprobe-cacert", "other.pem"), "other.pem"),
        (("--wsprobe-cacert", "/etc/ca.pem"), "/etc/ca.pem"),
    ],
)
def test_the_authorities_of_a_trace_are_those_that_were_named(
    words: tuple[str, ...], expected: str | None, pytester: pytest.Pytester
) -> None:
    config = pytester.parseconfig("-p", "wsprobe.pytest", *words)
    assert _authorities(config) == (pytester.path / expected if expected else None)


def installed(folder: Path) -> None:
    """A distribution with the entry points of pyproject.toml, for who has PYTHONPATH there."""
    project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())["project"]
    info = folder / "wsprobe_installed-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: wsprobe-installed\nVersion: 1\n")
    entries = project["entry-points"]["pytest11"].items()
    (info / "entry_points.txt").write_text("[pytest11]\n" + "".join(f"{name} = {value}\n" for name, value in entries))


def test_where_it_is_installed_it_is_off_unless_asked_for(
    runs: Callable[..., Ran], pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(pytester.path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((os.environ["PYTHONPATH"], str(pytester.path))))
    off = runs(TESTS["websockets"], "-W", "error")
    assert (off.status, off.sections()) == (1, [])
    for asked in (("--wsprobe",), ("-p", "wsprobe.pytest")):
        assert len(runs(TESTS["websockets"], "-W", "error", *asked).sections()) == 1
    pytester.makeini("[pytest]\nwsprobe = true\n")
    assert len(runs(TESTS["websockets"]).sections()) == 1


PASSING = """
def test_it():
    from websockets.sync.client import connect
    from websockets.exceptions import ConnectionClosed

    with connect(WEBSOCKETS + "/1011", additional_headers=HEADERS) as ws:
        with pytest.raises(ConnectionClosed):
            ws.recv()

@pytest.mark.xfail(strict=True)
def test_expected():
    from websockets.sync.client import connect

    connect(WEBSOCKETS + "/refuse")

def test_other():
    with pytest.raises(ZeroDivisionError):
        1 / 0
    import sys
    assert "wsprobe.redact" not in sys.modules
    assert "wsprobe.raised" not in sys.modules
"""


def test_a_passing_test_is_left_alone_and_pays_nothing(runs: Callable[..., Ran]) -> None:
    ran = runs(PASSING, "-p", "wsprobe.pytest", "--wsprobe-trace")
    assert "2 passed, 1 xfailed" in ran.text
    assert (ran.status, ran.sections()) == (0, [])


BROKEN = """
class ConnectionClosed(Exception):
    __module__ = "websockets.exceptions"

    @property
    def rcvd(self):
        raise ValueError("the secret is in here")

def test_it():
    raise ConnectionClosed

def test_that_has_nothing_to_do_with_a_connection():
    assert 1 == 2
"""


def test_a_failure_of_the_plugin_is_told_and_changes_no_outcome(runs: Callable[..., Ran]) -> None:
    ran = runs(BROKEN, "-p", "wsprobe.pytest", "--wsprobe-trace")
    assert "2 failed" in ran.text
    (told,) = ran.sections()
    assert told.splitlines()[1] == "could not tell of the connection: ValueError"


def test_loading_the_plugin_imports_nothing_else_of_wsprobe() -> None:
    code = "import sys, wsprobe.pytest; print([name for name in sys.modules if name.startswith('wsprobe')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['wsprobe', 'wsprobe.pytest']"


def test_an_exception_of_anything_else_is_about_no_connection() -> None:
    assert raised.raised(ConnectionResetError()) is None


def _by_aiohttp(url: str, *, upgrade: bool) -> None:
    async def main() -> None:
        async with aiohttp.ClientSession() as session:
            await (session.ws_connect(url) if upgrade else session.get(url))

    asyncio.run(main())


def _by_httpx(url: str, *, upgrade: bool) -> None:
    with httpx.Client() as client:
        if upgrade:
            with connect_ws(url, client):
                pass
        else:
            client.get(url)


@pytest.mark.parametrize("ask", [_by_aiohttp, _by_httpx])
def test_an_upgrade_that_is_dropped_without_an_answer_is_told_and_another_request_is_not(
    ask: Callable[..., None],
) -> None:
    with Backend(lambda _: None) as app:
        found = []
        for upgrade in (True, False):
            with pytest.raises((aiohttp.ClientError, httpx.TransportError)) as caught:
                ask(f"http://127.0.0.1:{app.port}/ws?room=7", upgrade=upgrade)
            found.append(raised.raised(caught.value))
    told, other = found
    assert other is None
    assert told
    assert told.url == f"ws://127.0.0.1:{app.port}/ws?room=7"
    assert told.request
    assert told.request.start_line == "GET /ws?room=7 HTTP/1.1"
    assert told.ending.startswith("the upgrade was not answered: Server disconnected")
    seen = redact(told.seen())
    assert _ending(told, seen) == [told.ending]
    assert _ending(replace(told, ending=""), seen) == ["the upgrade was not answered"]


def test_a_chain_of_causes_that_goes_in_a_circle_ends() -> None:
    one, two = ValueError(), KeyError()
    one.__cause__, two.__cause__ = two, one
    assert raised.raised(one) is None
