"""The sending side: scan the chosen paths, read every byte once, hash it while it is served.

In: paths. Out: a manifest, pieces with digests, and the trailer with the files' hashes.
"""
