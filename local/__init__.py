"""AWS on this machine, for `make run` and for tests. Never deployed."""
