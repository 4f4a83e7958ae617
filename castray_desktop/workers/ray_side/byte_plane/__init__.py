"""Moves bytes between agents: serving, fetching, part files. Sockets and files, no Ray."""
