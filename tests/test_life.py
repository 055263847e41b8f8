"""The life of a connection as reports tell it: in order, merged, and nothing lost from the counts."""

from dataclasses import replace

import pytest

from tests.reports.pages import LIVED, TALKED
from tests.reports.samples import CLIENT_ONLY
from wsprobe.model import Activity, Close, Count, Ending, Frame, Frames, Observation, Sender
from wsprobe.reports import _life

C, S = Sender.CLIENT, Sender.SERVER


def of(*first: Frame, last: tuple[Frame, ...] = (), more: int = 0, closes: tuple[Close, ...] = ()) -> Observation:
    """A hop at which these frames were kept, and so many more of the server, of 10 octets each, only counted."""
    counts = {
        side: {"text": Count(frames=len(own), bytes=sum(own))}
        for side in (C, S)
        if (own := [one.bytes for one in (*first, *last) if one.sender is side] + [10] * more * (side is S))
    }
    frames = Frames(client=counts.get(C, {}), server=counts.get(S, {}), first=first, last=last)
    return replace(LIVED, frames=frames, closes=closes, activity=Activity(client=9.0, server=9.0))


def text(sender: Sender, at: float, octets: int = 10, opcode: str = "text", *, more: bool = False) -> Frame:
    return Frame(at=at, sender=sender, opcode=opcode, bytes=octets, more=more)


def told(hop: Observation) -> list[tuple[str, str, float, float]]:
    return [(event.sender.value, event.what, event.begin, event.end) for event in _life.in_order(hop)]


@pytest.mark.parametrize("most", [1, 4, 12, 200])
def test_no_frame_is_lost_from_the_count_however_few_are_shown(most: int) -> None:
    for hop in (TALKED, CLIENT_ONLY.trace.hops[0], of(text(C, 1.0), text(S, 1.1), more=7)):
        assert hop.frames
        events = _life.in_order(hop, most)
        shown = sum(event.frames for event in events) + sum(
            1
            for event in events
            if event.close and event.close.ending is Ending.FRAME and any(_is(event, f) for f in _life.kept(hop, most))
        )
        assert shown == sum(count.frames for side in (hop.frames.client, hop.frames.server) for count in side.values())


def _is(event: _life.Event, frame: Frame) -> bool:
    return frame.opcode == "close" and frame.sender is event.sender


def test_like_frames_within_a_tenth_of_a_second_are_one_event() -> None:
    hop = of(text(S, 1.0), text(S, 1.05), text(S, 1.1), text(S, 1.3), text(S, 1.31, more=True), text(C, 1.32))
    assert told(hop) == [
        ("server", "3 text", 1.0, 1.1),
        ("server", "text", 1.3, 1.3),
        ("server", "text (part)", 1.31, 1.31),
        ("client", "text", 1.32, 1.32),
    ]


def test_a_close_stands_where_its_frame_came_among_others_of_the_same_moment() -> None:
    close = Close(sender=S, ending=Ending.FRAME, code=1011, reason="", at=2.0)
    hop = of(text(S, 2.0), text(S, 2.0, 2, "close"), text(S, 2.0, 5, "binary"), closes=(close,))
    assert [what for _, what, _, _ in told(hop)] == ["text", "close 1011", "binary"]


def test_frames_that_were_only_counted_stand_between_the_first_and_the_last_ones() -> None:
    hop = of(text(S, 1.0), text(C, 2.0), last=(text(S, 8.0),), more=4000)
    assert told(hop) == [
        ("server", "text", 1.0, 1.0),
        ("server", "4,000 more frames, only counted", 1.0, 9.0),
        ("client", "text", 2.0, 2.0),
        ("server", "text", 8.0, 8.0),
    ]
    assert sum(event.octets for event in _life.in_order(hop)) == 40_030


def test_a_record_without_frames_one_by_one_has_its_ends_alone() -> None:
    assert [what for _, what, _, _ in told(LIVED)] == ["RST", "timeout"]
