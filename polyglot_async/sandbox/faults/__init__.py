"""Faults on request: what goes wrong, with which call, how often. How it is done is the server's part."""
