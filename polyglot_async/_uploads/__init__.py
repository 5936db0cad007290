"""What is uploaded: sources, file reader, form body."""
