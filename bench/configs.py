"""How long `wsprobe inspect` computes: over a generated nginx config of 10,000 lines, and over real ones."""

import compileall
import resource
import subprocess
import tempfile
from pathlib import Path

import wsprobe
from bench.figures import CORPUS, GENERATED
from bench.programs import Unmeasured, pinned, program
from bench.traffic import Bench, left_out_on_failure, say

LINES = 10_000
FOLDER = Path(__file__).parents[1].parent / "shared" / "corpus"
"""Real public configs beside the project; the figure is left out where there are none."""

_SERVER = """\
    server {{
        listen 80;
        server_name app{number}.example.com;
        # One application: a page, its files, and a WebSocket.
        client_max_body_size 10m;
        proxy_set_header Host $http_host;
        proxy_set_header X-Real-IP $remote_addr;
        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;

        location / {{
            proxy_pass http://app{number};
        }}

        location /static/ {{
            root /srv/app{number};
            expires 1h;
        }}

        location /ws {{
            proxy_pass http://app{number};
            proxy_http_version 1.1;
            proxy_set_header Host $http_host;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection "upgrade";
            proxy_read_timeout 3600s;
        }}
    }}
    upstream app{number} {{
        server 10.0.{high}.{low}:8080;
    }}
"""


def generated() -> str:
    """An nginx config of 10,000 lines: servers with a page, files and a WebSocket each."""
    lines = ["http {"]
    number = 0
    while len(lines) < LINES - 1:
        lines += _SERVER.format(number=number, high=number // 250, low=number % 250).splitlines()
        number += 1
    return "\n".join([*lines, "}", ""])


def _seconds(bench: Bench, path: Path) -> float:
    """CPU time of one whole inspection; what it finds does not matter."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with pinned(bench.cores.measured):
        done = subprocess.run(
            [program("wsprobe"), "inspect", str(path), "--format", "json"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            timeout=120,
            check=False,
        )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if "Traceback" in done.stderr or done.returncode not in {0, 1, 2}:
        raise Unmeasured(f"status {done.returncode}: {done.stderr[-200:]}")
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def configs(bench: Bench) -> None:
    """Both, in turns."""
    say("configs")
    compileall.compile_dir(Path(wsprobe.__file__).parent, quiet=1)
    with tempfile.TemporaryDirectory(prefix="wsprobe-bench-") as name:
        big = Path(name) / "nginx.conf"
        big.write_text(generated())
        if not FOLDER.is_dir():
            bench.figures.leave_out(CORPUS, "there is no folder of configs beside the project", failed=False)
        for turn in range(bench.rounds + 1):
            for subject, path in ((GENERATED, big), (CORPUS, FOLDER)):
                if subject not in bench.figures.reasons:
                    with left_out_on_failure(bench, subject):
                        took = _seconds(bench, path)
                        if turn:
                            bench.figures.add(subject, config_cpu=took)
