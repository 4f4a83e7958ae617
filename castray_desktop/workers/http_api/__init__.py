"""The HTTP API and WebSocket of `castray serve`: a client of the engine like any other."""
