"""Casts that start by themselves: at times, or when files have changed.

In: schedules. Out: casts, and how the last runs went. Kept in a file of the home.
"""
