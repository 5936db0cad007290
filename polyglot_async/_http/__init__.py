"""The HTTP side: credential, base URL, retries, transport, sockets."""
