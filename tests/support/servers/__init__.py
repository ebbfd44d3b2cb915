"""Real servers for the tests: installation, start, stop and network faults."""
