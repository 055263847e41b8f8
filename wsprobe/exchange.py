"""One request and its response while they pass, and what is told of them."""

from datetime import UTC, datetime

from wsprobe import handshake
from wsprobe.heads import BodyReader, Fields
from wsprobe.model import Body, Handshake, Message


class Exchange:
    """One request and its response while they pass."""

    __slots__ = (
        "asked",
        "asked_at",
        "at",
        "began",
        "body",
        "interim",
        "judged",
        "number",
        "request",
        "response",
        "response_at",
        "upgrade",
    )

    def __init__(self, number: int, began: float, epoch: float) -> None:
        self.number = number
        self.began = began
        self.at = _utc(epoch + began)
        self.request: Message | None = None
        self.response: Message | None = None
        self.asked: Fields | None = None  # the request's headers by name, until the answer has come
        self.asked_at: float | None = None
        self.response_at: float | None = None
        self.interim: tuple[str, ...] = ()
        self.upgrade = False
        self.body: BodyReader | None = None
        self.judged: tuple[str | None, Handshake] | None = None

    def answered(self, fields: Fields) -> None:
        """The response has come: the judgements stay as they are from now on."""
        if self.request is not None and self.asked is not None:
            self.judged = self._judge(self.request, (self.asked, fields))
        self.asked = None

    def judge(self) -> tuple[str | None, Handshake | None]:
        """The trace id and the judgements, as far as they can be made."""
        if self.judged:
            return self.judged
        return (None, None) if self.request is None else self._judge(self.request, None)

    def _judge(self, request: Message, fields: tuple[Fields, Fields] | None) -> tuple[str | None, Handshake]:
        duration = None
        if self.asked_at is not None and self.response_at is not None:
            duration = round(self.response_at - self.asked_at, 7)
        ids = handshake.trace_ids(fields[0] if fields else request.headers)
        return ids[0] if ids else None, handshake.judge(request, self.response, duration, fields)


def refused(body: BodyReader, response: Message) -> Body:
    """A refusal's body as text. What is not text, or is coded, is told by its size alone."""
    coded = any(name.lower() == "content-encoding" and value.lower() != "identity" for name, value in response.headers)
    text = None if coded or b"\0" in body.kept else body.kept.decode("utf-8", "replace")
    return Body(text=text, size=body.size, cut=body.size > len(body.kept))


def _utc(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
