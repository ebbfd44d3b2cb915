"""Real servers for the tests: how to get them, start them, stop them and cut them off."""
