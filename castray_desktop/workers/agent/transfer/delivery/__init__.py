"""The receiving side: download, verify, commit, prune, receipts, audit.

In: an order to fetch from an upstream. Out: files in the destination, and a receipt of them.
"""
