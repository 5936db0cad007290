"""The sync client: one portal call a method over the very same core."""
