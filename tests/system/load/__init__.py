"""Load of many processes and long runs: the driver, its measurements, and its page."""
