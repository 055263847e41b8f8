"""nginx configs for tests: what is read of them, and what becomes of an upgrade."""

from wsprobe.inspection import Prediction
from wsprobe.lb.model import Config
from wsprobe.lb.nginx import read
from wsprobe.lb.predict import predict
from wsprobe.lb.request import Request, upgrade
from wsprobe.lb.source import from_text
from wsprobe.parts import Header

BEARER: Header = ("Authorization", "Bearer x")
WS = 'proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection "upgrade";'


def config(text: str, version: str | None = None) -> Config:
    """A config in which nothing is wrong."""
    found = read(from_text(text), version)
    assert not found.problems
    return found


def inside(location: str) -> str:
    """A config with one location that says this and passes requests on."""
    return f"http {{ server {{ listen 80; location / {{ {location} proxy_pass http://app; }} }} }}"


def sent(text: str, request: Request | None = None, version: str | None = None) -> Prediction:
    """What becomes of an upgrade with a token."""
    return predict(config(text, version), request or upgrade("/ws", headers=(BEARER,)))


def header(prediction: Prediction, name: str) -> list[str]:
    """The values of a header as the upstream receives it."""
    assert prediction.request
    return [value for key, value in prediction.request.headers if key.lower() == name.lower()]
