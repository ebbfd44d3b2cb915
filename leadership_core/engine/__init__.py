"""The threads and timers that drive candidates and followers; one engine per open store.

The user API takes its names from here. The modules are loaded when the first store is opened: a
program that imports a candidate, and a command that prints its help, need none of them.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from ..lazy import lazy_names, module_of_names

if TYPE_CHECKING:
    from .callbacks import Call
    from .candidate_arguments import check_candidate
    from .candidate_control import CandidateControl
    from .candidate_state import LeadershipIterator
    from .candidate_work import lead, working
    from .follower_control import FollowerControl, LeaderIterator
    from .gates import Gates
    from .open_store import OpenStore
    from .process_hooks import close_at_exit
    from .timing import first_answer_within, safety_margin

__all__ = [
    "Call",
    "CandidateControl",
    "FollowerControl",
    "Gates",
    "LeaderIterator",
    "LeadershipIterator",
    "OpenStore",
    "check_candidate",
    "close_at_exit",
    "first_answer_within",
    "lead",
    "load",
    "safety_margin",
    "working",
]

# The names of each module; a test compares them with the declarations above.
_MODULE_OF = module_of_names(
    {
        ".callbacks": "Call",
        ".candidate_arguments": "check_candidate",
        ".candidate_control": "CandidateControl",
        ".candidate_state": "LeadershipIterator",
        ".candidate_work": "lead working",
        ".follower_control": "FollowerControl LeaderIterator",
        ".gates": "Gates",
        ".open_store": "OpenStore",
        ".process_hooks": "close_at_exit",
        ".timing": "first_answer_within safety_margin",
    }
)
if not TYPE_CHECKING:  # for a type checker, every name would exist
    __getattr__, __dir__ = lazy_names(globals(), _MODULE_OF)


def load() -> None:
    """Import all of it, so that no later call depends on the files, descriptors and memory of an import."""
    for name in _MODULE_OF:
        getattr(sys.modules[__name__], name)
