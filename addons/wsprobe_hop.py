"""For a stock mitmproxy: records what passes, and changes as little as mitmproxy can.

mitmdump --mode reverse:http://HOST:PORT -s addons/wsprobe_hop.py --set wsprobe_hop=NAME --set wsprobe_records=FILE
"""

import importlib.util
import sys
from pathlib import Path

if importlib.util.find_spec("wsprobe") is None:  # not installed where this mitmproxy runs: the checkout has it
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from wsprobe.middleware.mitmproxy import HopRecorder

addons = [HopRecorder()]
