"""Casts: from what was asked for to what became of it."""
