"""The client side of the engine protocol: what window, command line and programs use.

In: commands. Out: replies and events. Starts the engine when none runs, and keeps a cache of what it has
reported.
"""
