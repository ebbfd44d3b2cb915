"""`python -m leadership_core.cli`, the same as `leadership`."""

from __future__ import annotations

import sys

from .main import main

sys.exit(main())
