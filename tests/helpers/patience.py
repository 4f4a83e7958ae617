"""How long tests wait for an event that has to come."""

PATIENCE = 20.0
"""Seconds, only against hanging: no test asserts with it that something is fast. On a busy machine, a process
may get no processor for seconds.
"""
