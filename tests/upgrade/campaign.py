"""A candidate for the old release and for the present one: prints each change, with the token."""

from __future__ import annotations

import sys

from leadership_core import Candidate, open_store

url, key, name = sys.argv[1:]
with open_store(url) as store:
    candidate = Candidate(store, key, name, ttl=3.0)
    for elected in candidate.run_for_election():
        term = candidate.term if elected else None
        print(f"elected {term.token}" if term else "not elected", flush=True)
