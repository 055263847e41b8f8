"""Why it happened and what to do, in an HTML report: the chain of causes, and the fixes by who can apply them."""

from wsprobe.model import Link, Remedy
from wsprobe.reports import _view
from wsprobe.reports._html_findings import evidence, excerpts
from wsprobe.reports._html_write import NOTHING, Html, Sheet, joined, tag


def why(sheet: Sheet) -> Html:
    """The chain from the symptom to the root, each link with its evidence."""
    writeup = sheet.report.writeup
    if writeup is None:
        return NOTHING
    links = [_link(sheet, sure, link) for sure, link in _view.chain(writeup)[: sheet.size.items]]
    chain = tag("ol", *links, class_="chain", aria_label="From the symptom to the root")
    return sheet.section("why", "Why it happened", chain, tag("p", sheet.prose(writeup.proven)))


def _link(sheet: Sheet, sure: str, link: Link) -> Html:
    header = next((finding.header for finding in _view.findings(sheet.report) if finding.rule == link.rule), None)
    badge = tag("span", sheet.said(sure), class_=f"badge {link.confidence.value}")
    places = sheet.listed(evidence(sheet, header, place) for place in link.places)
    return tag("li", badge, " ", sheet.prose(link.what), places, excerpts(sheet, link.lines))


def to_do(sheet: Sheet) -> Html:
    """The fixes, and the commands that verify them and that prevent the same."""
    writeup = sheet.report.writeup
    if writeup is None:
        return NOTHING
    return sheet.section(
        "fixes",
        "What to do",
        sheet.listed((_remedy(sheet, remedy) for remedy in writeup.fixes), "remedies"),
        sheet.commands("How to verify", writeup.verify),
        sheet.commands("How to prevent", writeup.prevent),
    )


def _remedy(sheet: Sheet, remedy: Remedy) -> Html:
    """A fix, with the line of a config as it is and as it should be."""
    told = joined((tag("b", remedy.who.value), ": ", sheet.prose(remedy.what)))
    if remedy.line is None:
        return told
    change = [tag("del", "- ", sheet.said(remedy.line.text))]
    change += [Html("\n"), tag("ins", "+ ", sheet.said(remedy.instead))] if remedy.instead else []
    caption = tag("figcaption", sheet.code(_view.place(remedy.line)))
    figure = tag("figure", caption, tag("pre", tag("code", *change)), class_="excerpt")
    return joined((told, figure if remedy.instead is not None else excerpts(sheet, (remedy.line,))))
