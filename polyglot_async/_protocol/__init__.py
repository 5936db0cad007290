"""The protocol as pure functions: no I/O, no clock, no dice. `now` and `random` are handed in."""
