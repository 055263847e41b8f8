"""SARIF 2.1.0 (OASIS, errata 01): findings as code scanning services take them.

A finding keeps its fingerprint when lines move: it is made of the rule, the file, the text of the line, the header and
the route, and of how many alike came before it.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import PurePath
from textwrap import dedent
from typing import Any
from urllib.parse import quote

from wsprobe.inspection import ConfigFinding, Inspection, Problem, RuleText, Silenced, Unknown
from wsprobe.parts import Line

NAME = "sarif"
SUFFIXES = (".sarif", ".sarif.json")

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
FINGERPRINT = "wsprobeFinding/v1"

_ROOT = "SRCROOT"
_EXAMPLE = re.compile(r"^((?:Bad|Good)[^\n]*:)\n((?: {4}[^\n]*(?:\n|\Z))+)", re.MULTILINE)

Json = dict[str, Any]


def render(inspection: Inspection) -> str:
    """An inspection as a SARIF log with one run."""
    log = {"$schema": SCHEMA, "version": "2.1.0", "runs": [_run(inspection)]}
    return json.dumps(log, indent=2, ensure_ascii=True).replace("\x7f", "\\u007f") + "\n"


def _run(inspection: Inspection) -> Json:
    names = [rule.name for rule in inspection.rules]
    every = [*inspection.findings, *(silenced.finding for silenced in inspection.silenced)]
    urls = {finding.rule: finding.url for finding in every if finding.url}
    return {
        "tool": {
            "driver": {
                "name": "wsprobe",
                "version": inspection.version,
                "semanticVersion": inspection.version,
                "rules": [_rule(rule, urls.get(rule.name)) for rule in inspection.rules],
            }
        },
        "columnKind": "unicodeCodePoints",
        "originalUriBaseIds": {_ROOT: {"description": {"text": "The folder in which wsprobe ran."}}},
        "artifacts": [
            {"location": _artifact(path), "roles": ["analysisTarget"]}
            for path in dict.fromkeys(path for config in inspection.configs for path in config.files)
        ],
        "invocations": [
            {
                "executionSuccessful": not inspection.problems,
                "exitCode": inspection.status,
                "toolExecutionNotifications": [
                    *map(_problem, inspection.problems),
                    *(_unread(unknown) for unknown in inspection.unread),
                ],
            }
        ],
        "results": list(_results(inspection, names)),
        "properties": {"summary": inspection.summary},
    }


def _rule(rule: RuleText, url: str | None) -> Json:
    examples = _EXAMPLE.sub(lambda match: f"{match[1]}\n\n```\n{dedent(match[2]).rstrip()}\n```\n\n", rule.text)
    made: Json = {
        "id": rule.name,
        "name": rule.name.title().replace("-", ""),
        "shortDescription": {"text": rule.summary},
        "fullDescription": {"text": rule.summary},
        "help": {"text": rule.text, "markdown": examples},
    }
    return made | ({"helpUri": url} if url else {})


# Results.


def _results(inspection: Inspection, names: list[str]) -> Iterator[Json]:
    alike: Counter[str] = Counter()
    every: list[tuple[ConfigFinding, Silenced | None]] = [(finding, None) for finding in inspection.findings]
    every += [(silenced.finding, silenced) for silenced in inspection.silenced]
    for finding, silenced in every:
        key = "\0".join(
            (finding.rule, finding.place.path, finding.place.text, finding.header or "", finding.route or "")
        )
        alike[key] += 1
        yield _result(finding, silenced, names, _digest(f"{key}\0{alike[key]}"))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:32]


def _result(finding: ConfigFinding, silenced: Silenced | None, names: list[str], fingerprint: str) -> Json:
    fix = f" {finding.fix}" if finding.fix else ""
    made: Json = {
        "ruleId": finding.rule,
        "ruleIndex": names.index(finding.rule),
        "level": finding.severity.value,
        "message": {"text": f"{finding.message}{fix}"},
        "locations": [_location(finding.place, finding.route)],
        "partialFingerprints": {FINGERPRINT: fingerprint},
    }
    if finding.related:
        made["relatedLocations"] = [{"id": at, **_location(line)} for at, line in enumerate(finding.related, 1)]
    if silenced:
        made["suppressions"] = [{"kind": "inSource", "status": "accepted", "justification": silenced.reason}]
    return made


def _location(line: Line, route: str | None = None) -> Json:
    start = line.column
    end = start + (line.length or max(0, line.indent + len(line.text) - start + 1))
    region: Json = {"startLine": line.line, "startColumn": start, "endLine": line.line, "endColumn": max(end, start)}
    if line.text:
        region["snippet"] = {"text": line.text}
    made: Json = {"physicalLocation": {"artifactLocation": _artifact(line.path), "region": region}}
    return made | ({"logicalLocations": [{"fullyQualifiedName": route}]} if route else {})


def _artifact(path: str) -> Json:
    """A file by a relative URI, or by an absolute one where it lies elsewhere."""
    pure = PurePath(path)
    if pure.is_absolute():
        return {"uri": f"file://{quote(pure.as_posix(), errors='surrogateescape')}"}
    return {"uri": quote(pure.as_posix().strip("<>"), errors="surrogateescape"), "uriBaseId": _ROOT}


# What could not be read.


def _problem(problem: Problem) -> Json:
    location: Json = {"physicalLocation": {"artifactLocation": _artifact(problem.path)}}
    if problem.line:
        region = {"startLine": problem.line} | ({"startColumn": problem.column} if problem.column else {})
        location["physicalLocation"]["region"] = region
    return {"level": "error", "message": {"text": problem.message}, "locations": [location]}


def _unread(unknown: Unknown) -> Json:
    told: Json = {"level": "note", "message": {"text": f"not understood: {unknown.what}: {unknown.why}"}}
    return told | ({"locations": [_location(unknown.place)]} if unknown.place else {})
