"""Data connections: dial, accept, authenticate, encrypt, upload, tunnel through Ray.

In: an upstream's address, or an accepted socket. Out: an authenticated connection, and pieces sent on it.
"""
