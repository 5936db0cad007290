"""Many files under the limits of one account."""
