"""The decisions of a candidate, without clock, thread or I/O."""

from __future__ import annotations

from .campaign import Campaign
from .phase import Phase

__all__ = ["Campaign", "Phase"]
