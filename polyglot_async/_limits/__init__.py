"""The account's limits: windows, what 429s teach, the limiter."""
