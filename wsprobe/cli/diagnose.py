"""`wsprobe diagnose`: joins and judges what recorders saw, of anyone's traffic."""

import argparse
from pathlib import Path

from wsprobe.cli import UsageError, gather, output
from wsprobe.cli.configoptions import config_arguments, read_configs


def arguments(parser: argparse.ArgumentParser) -> None:
    """What may be asked."""
    parser.add_argument("records", metavar="RECORDS", nargs="+", type=Path, help="records files, or folders of them")
    parser.add_argument("--trace", metavar="ID", help="only the trace with this id (32 hex digits, or how it begins)")
    config_arguments(parser)
    output.arguments(parser)


def run(options: argparse.Namespace) -> int:
    """One report, or several with those that have problems first."""
    from wsprobe.diagnose import collect, diagnose
    from wsprobe.join import join

    output.check(options)
    configs = read_configs(options)
    found = gather.records(options.records)
    for file in gather.silent(path for path in options.records if not path.is_dir()):
        raise UsageError(f"{file}: empty: its recorder has seen no request; leave it out, or ask for its folder")
    traces = join(found.observations, found.problems)
    asked = [trace for trace in traces if any(hop.handshake and hop.handshake.asked for hop in trace.hops)]
    failed = [trace for trace in traces if trace not in asked and any(hop.failure for hop in trace.hops)]
    chosen = [trace for trace in (*asked, *failed) if not options.trace or (trace.id or "").startswith(options.trace)]
    if not chosen:
        what = f"trace {options.trace}" if options.trace else "a request for a WebSocket"
        told = "; ".join(found.problems)
        raise UsageError(
            f"{', '.join(map(str, options.records))}: {what} is not among {len(traces)} recorded exchanges"
            f"{'; ' + told if told else ''}"
        )
    reports = [diagnose(trace) for trace in chosen]
    return output.write(configs.beside(reports[0] if len(reports) == 1 else collect(reports)), options)
