"""The only network, disk and clock."""
