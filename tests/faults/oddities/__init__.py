"""What makes a worker odd: faults that lie in the process itself, put in from within.

Each oddity is a function of one word, which says how. It is called before anything of the
library is loaded, and returns what is called when the candidate is about to stand. SIGUSR2 is the
cue of those that wait for one. What an oddity has to say goes into the diary, as a remark.
"""
