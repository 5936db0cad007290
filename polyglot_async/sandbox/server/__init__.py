"""The HTTP server: connections, middleware, credentials, limits, and the calls of the API."""
