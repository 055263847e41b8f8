"""What nginx does to the headers of the 101."""

import re
from collections.abc import Iterator

from wsprobe.lb._nginx_scope import Scope
from wsprobe.lb._nginx_values import Around, Values
from wsprobe.lb.model import Edit, Like, Named, Op


def response(scope: Scope, values: Values, around: Around) -> Iterator[Edit]:
    """The edits of the response; add_header without `always` leaves a 101 as it is."""
    for each in scope.nearest("proxy_hide_header"):
        yield Edit(op=Op.REMOVE, which=Named((each.arg(0),)), place=each.place)
    for each in scope.nearest("add_header"):
        value = values.value(each.arg(1), around)
        always = each.arg(2) == "always"
        yield Edit(
            op=Op.ADD, which=Named((each.arg(0),)), value=value, drop_empty=True, place=each.place, effective=always
        )
    for outer in reversed(list(scope.chain())):
        for each in outer.own("more_set_headers", "more_clear_headers"):
            for text in each.args:
                name, colon, new = text.partition(":")
                if each.name == "more_set_headers" and colon:
                    value = values.value(new.strip(), around)
                    yield Edit(op=Op.SET, which=Named((name.strip(),)), value=value, drop_empty=True, place=each.place)
                elif name.endswith("*"):
                    yield Edit(op=Op.REMOVE, which=Like(f"^{re.escape(name[:-1].strip())}"), place=each.place)
                else:
                    yield Edit(op=Op.REMOVE, which=Named((name.strip(),)), place=each.place)
