"""The HTTP server: connections, middleware, credentials, limits, the calls of the API, and what faults do to them."""
