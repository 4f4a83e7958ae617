"""Failures as values, and the sentences that are shown for them.

`kinds` is shipped to the nodes. The other modules turn a failure or a check into text, in any language.
"""
