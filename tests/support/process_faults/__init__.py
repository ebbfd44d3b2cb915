"""Faults of a worker process, injected from within.

Each fault is a function of one argument, a string. It is called before the library is loaded, and
returns a function that is called before the candidate campaigns. SIGUSR2 triggers those that wait
for a trigger. What a fault reports is written into the recording, as a remark.
"""
