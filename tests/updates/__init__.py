"""Increments under the lock: what a pause costs without a fence, and that it costs nothing with one."""
