"""What a person wants done, composed of the protocol and of I/O."""
