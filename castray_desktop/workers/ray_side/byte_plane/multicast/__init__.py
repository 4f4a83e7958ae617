"""One stream of datagrams for all recipients of a cast: sending, listening, and what came of it."""
