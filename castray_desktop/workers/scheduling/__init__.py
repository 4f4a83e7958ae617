"""Schedules: casts that start by themselves."""
