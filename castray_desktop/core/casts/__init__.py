"""Rules of casts: states and transitions, options, admission, progress, statistics, node selection, JSON
views.

In: client messages and numbers that agents report. Out: the next state, derived numbers, and JSON for
scripts.
"""
