"""HAProxy: what samples and converters give where a header is missing, empty or no number, on the real one."""

from tests.prediction import Tally, compare
from tests.prediction.test_haproxy import GLOBAL, rendered
from wsprobe.lb.request import Request, upgrade
from wsprobe.model import Header

PROXY = "haproxy"

_CRITERIA = r"""
req.hdr(x-n) -m int 5:8
req.fhdr(x-n) -m int 5:8
req.hdr(x-n),field(1,:) -m int gt 5
var(txn.n) -m int 5:8
var(txn.n) -m bool
req.hdr(x-n) -m bool
req.hdr(x-n) -m bool false
ssl_fc 0
always_true 0
ssl_fc -m int 0
always_true -m int 0
hdr(x-n),iif(a,b) a
hdr(x-n),iif(a,b) b
hdr(x-n),bool
hdr(x-n),not
ssl_fc,iif(a,b) b
always_true,not
req.hdr(x),word(9,' ') -m found
req.hdr(x),field(9,' ') -m found
req.hdr(nope),concat(a) -m found
req.hdr(nope),length 0
hdr(host) -m dom example.com
hdr_dom(host) -i EXAMPLE.com
method -i get
path -m dom ws
urlp_beg(a) -i B
path,field(-1,/) ws
path,word(-1,/) ws
base_dom example.com
req.hdr(host),host_only app.example.com
hdr_ip(x-n,-1) 10.0.0.0/8
""".strip().splitlines()
_VALUES = r"""
<%[req.hdr(nope),concat(a)]>
<%[req.hdr(nope),iif(a,b)]>
<%[req.hdr(nope),regsub(a,b)]>
<%[req.hdr(x),concat(a,txn.nope,b)]>
<%[req.hdr(x),word(9,' ')]>
<%[req.hdr(x),concat(-,txn.n,-),upper]>
<%[ssl_fc,iif(a,b)]>
<%[path,field(-2,/)]>
""".strip().splitlines()


def test_a_sample_that_is_missing_or_no_number_is_what_was_predicted(tally: Tally) -> None:
    lines = [f"http-request set-header X-C-{at} 1 if {{ {each} }}" for at, each in enumerate(_CRITERIA)]
    lines += [f'http-request set-header X-V-{at} "{each}"' for at, each in enumerate(_VALUES)]
    rules = "\n    ".join(["http-request set-var(txn.n) req.hdr(x-n)", *lines, "default_backend b"])
    text = f"{GLOBAL}frontend fe\n    bind 127.0.0.1:@PORT@\n    {rules}\nbackend b\n    server s 127.0.0.1:@UP@\n"
    texts = ("6", "5x", "x", "", "0", "00", "1", "-1", "-", "6, 7", "7, 3", "+6", "10.0.0.1")
    numbers: list[tuple[Header, ...]] = [(("X-N", each), ("X", "a b")) for each in texts]
    asked = [upgrade(target, headers=each) for target in ("/ws", "/a/b?a=bc") for each in ((), *numbers)]
    compare(PROXY, rendered(text), asked, tally)


def test_a_target_without_a_path_or_with_a_host_is_what_was_predicted(tally: Tally) -> None:
    lines = [
        *(f"http-request set-header X-{each} '<%[{each}]>'" for each in ("path", "pathq", "base", "url", "query")),
        *(f"http-request set-header X-F-{each} 1 if {{ {each} -m found }}" for each in ("path", "base")),
        "http-request replace-path ^/(a.*) /p/\\1",
        "http-request replace-uri ^wz$ x",
        "http-request set-path /n if { path /set }",
        "default_backend b",
    ]
    rules = "\n    ".join(lines)
    text = f"{GLOBAL}frontend fe\n    bind 127.0.0.1:@PORT@\n    {rules}\nbackend b\n    server s 127.0.0.1:@UP@\n"
    targets = ("ws", "wz", "*", "a/b", "/ab?c", "/set?c", "http://h/ws?x", "http://h/ab?x", "http://h")
    bare = tuple(header for header in upgrade().headers if header[0] != "Host")
    asked = [Request(target=target, method=how, headers=bare) for target in targets for how in ("GET", "OPTIONS")]
    compare(PROXY, rendered(text), asked, tally)
