"""Stores of files: object stores, and what else the engine resolves on its own computer.

In: the addresses of a request that are not paths. Out: the files that they stand for, and links to them that
a node can download with nothing but Python. The credentials of a store are used here alone; a node gets links
that expire, which are renewed as long as the cast runs.
"""
