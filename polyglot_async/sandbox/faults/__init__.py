"""Faults on request: what goes wrong, with which call, how often; and how it is done on the connection."""
