"""Casts that have ended, statistics, and the traffic of the last day, in a SQLite file."""
