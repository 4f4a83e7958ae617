"""Checks of this computer, of every node, and of the connections between them.

In: a cluster. Out: checks, as values; `core.failures.check_sentences` has their sentences.
"""
