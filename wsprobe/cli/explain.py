"""`wsprobe explain`: a close code or a rule in words, offline."""

import argparse


def arguments(parser: argparse.ArgumentParser) -> None:
    """What may be asked."""
    parser.add_argument("what", metavar="CODE-OR-RULE", help="a close code such as 1011, or the name of a rule")


def run(options: argparse.Namespace) -> int:
    """Prints the explanation."""
    word: str = options.what
    if word.isascii() and word.isdigit() and len(word) <= 5:
        from wsprobe.closecodes import explain

        print(explain(int(word)))
        return 0
    from wsprobe import rules, silences
    from wsprobe.cli import UsageError
    from wsprobe.rules import config

    sources = ((rules.names(), rules.text), (config.names(), config.text), (silences.NAMES, silences.text))
    kinds = {name: text for names, text in sources for name in names}
    if word not in kinds:
        msg = f"{word[:80]!r} is neither a close code nor a rule; the rules are {', '.join(sorted(kinds))}"
        raise UsageError(msg)
    print(kinds[word](word))
    return 0
