"""Fuzzing: every parser that reads bytes from elsewhere must return, or raise its documented error.

`targets.py` lists the parsers. `python -m tests.fuzz [TARGET ...] --seconds N --inputs N` runs them. Inputs
that break one are written to `findings/`, which the tests replay.
"""
