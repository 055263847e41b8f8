"""The path in an HTML report: a line of hops, the guilty segment marked by sign, words and colour."""

from wsprobe.model import Observation
from wsprobe.reports import _view
from wsprobe.reports._html_write import Html, Sheet, hidden, icon, tag
from wsprobe.reports._path import Route, route

_LONGEST_NAME = 120
_FEW, _SOME = 5, 10
"""Stations that stand beside each other, and that do where the page is wide; more stand below each other."""


def path(sheet: Sheet) -> Html:
    """All stations and what lies between them, as a list that reads well in order."""
    made = route(sheet.report, _LONGEST_NAME)
    hops = dict(zip(_numbers(made), sheet.report.trace.hops, strict=False)) if sheet.report.trace.hops else {}
    parts = []
    for index, station in enumerate(made.stations[: sheet.size.items]):
        if index:
            parts.append(_way(made, index - 1, sheet))
        parts.append(_station(sheet, made, index, hops.get(index), station))
    more = len(made.stations) - sheet.size.items
    parts += [tag("li", f"and {more} more stations", class_="more")] if more > 0 else []
    count = len(made.stations)
    size = "short" if count <= _FEW else "long" if count <= _SOME else "longest"
    return tag("ol", *parts, class_=f"path {size}", aria_label="The path, the client's side first")


def _numbers(made: Route) -> list[int]:
    """The stations that stand for one hop each, in the order of the hops."""
    return [n for n, station in enumerate(made.stations) if station and not station.endswith("order not known)")]


def _station(sheet: Sheet, made: Route, index: int, hop: Observation | None, name: str | None) -> Html:
    guilty = made.begin is not None and index == made.begin == made.end
    mark = tag("span", icon("bad"), " ", made.label, class_="mark") if guilty else ""
    class_ = f"hop{' guilty' if guilty else ''}{'' if name else ' unseen'}"
    if hop is None:
        return tag("li", tag("b", name or "?"), tag("small", "" if name else "not observed"), mark, class_=class_)
    number = next(at for at, one in enumerate(sheet.report.trace.hops) if one is hop)
    link = tag("a", tag("b", name or "?"), href=f"#{sheet.anchor(f'hop-{number}')}")
    told = [tag("small", sheet.said(said)) for said in (hop.recorder.kind, _view.answer(hop))]
    return tag("li", link, *told, mark, class_=class_)


def _way(made: Route, index: int, sheet: Sheet) -> Html:
    dotted = " dotted" if made.dotted(index) else ""
    sign = made.marked(index)
    if not sign:
        return tag("li", hidden("then"), class_=f"way{dotted}")
    verdict = sheet.report.verdict
    said = f": {verdict.rule}" if verdict else ""
    label = made.label if sign != "?" or index + 1 == made.end else ""
    name = {"≠": "altered", "?": "uncompared"}.get(sign, "bad")
    words = "somewhere here" if sign == "?" else "here"
    mark = tag("span", icon(name), tag("span", label), class_="mark")
    return tag("li", hidden(f"{words}{said} "), mark, class_=f"way guilty{dotted}")
