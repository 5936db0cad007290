"""Speech recognition: what an engine is, the ones that are built in, and the worker processes that run them."""
