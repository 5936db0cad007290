"""Downloads: byte ranges, file writer, partial files, remote files."""
