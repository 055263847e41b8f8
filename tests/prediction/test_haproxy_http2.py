"""HAProxy before a server that is spoken to in HTTP/2: an upgrade arrives as an extended CONNECT (RFC 8441)."""

import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Queue

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import RequestReceived
from h2.settings import SettingCodes

from tests import lab
from tests.prediction import SECONDS, read
from tests.prediction.test_haproxy import GLOBAL
from wsprobe.lb.predict import predict
from wsprobe.lb.request import upgrade

_CONFIG = """
listen l
    bind 127.0.0.1:@PORT@
    server s 127.0.0.1:@UP@ proto h2
"""

Head = list[tuple[str, str]]


@contextmanager
def upstream() -> Iterator[tuple[int, "Queue[Head]"]]:
    """A server of HTTP/2 that takes extended CONNECTs; its port, and the heads of the requests that came."""
    heads: Queue[Head] = Queue()
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_serve, args=(server, heads), daemon=True).start()
        yield server.getsockname()[1], heads


def _serve(server: socket.socket, heads: "Queue[Head]") -> None:
    with suppress(OSError):  # it is closed where the test ends
        while True:
            _talk(server.accept()[0], heads)


def _talk(client: socket.socket, heads: "Queue[Head]") -> None:
    talk = H2Connection(H2Configuration(client_side=False, header_encoding="latin-1"))
    talk.initiate_connection()
    talk.update_settings({SettingCodes.ENABLE_CONNECT_PROTOCOL: 1})
    client.settimeout(SECONDS)
    with client:
        client.sendall(talk.data_to_send())
        while octets := client.recv(65536):
            for event in talk.receive_data(octets):
                if isinstance(event, RequestReceived):
                    heads.put([(str(name), str(value)) for name, value in event.headers])
                    talk.send_headers(event.stream_id, [(":status", "403")], end_stream=True)
            client.sendall(talk.data_to_send())


def test_an_upgrade_arrives_as_an_extended_connect_as_predicted() -> None:
    with upstream() as (port, heads):

        def render(_folder: Path, own: int) -> Mapping[str, str]:
            return {"haproxy.cfg": GLOBAL + _CONFIG.replace("@PORT@", str(own)).replace("@UP@", str(port))}

        with lab.run("haproxy", render) as running, socket.create_connection(("127.0.0.1", running.port)) as client:
            asked = upgrade("/ws", headers=(("Authorization", "Bearer x"),))
            head = "".join(f"{name}: {value}\r\n" for name, value in asked.headers)
            client.sendall(f"GET /ws HTTP/1.1\r\n{head}\r\n".encode())
            got = dict(heads.get(timeout=SECONDS))
            predicted = predict(read("haproxy", running.folder, "haproxy.cfg"), asked)
    pseudo = {name: got.pop(name) for name in list(got) if name.startswith(":")}
    assert pseudo.pop(":protocol") == "websocket"
    assert predicted.request
    assert predicted.request.start_line == f"{pseudo[':method']} {pseudo[':path']} HTTP/2"
    assert {name.lower(): value for name, value in predicted.request.headers} == {"host": pseudo[":authority"], **got}
