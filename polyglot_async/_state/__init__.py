"""What a batch keeps on disk."""
