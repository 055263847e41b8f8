"""`python -m wsprobe`."""

import sys

from wsprobe.cli import main

if __name__ == "__main__":
    sys.exit(main())
