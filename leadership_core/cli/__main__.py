"""`python -m leadership_core.cli`, the same as `leadership`."""

from __future__ import annotations

import sys

from .main import main

if __name__ == "__main__":
    sys.exit(main())
