"""What a node has of a cast: pieces, part files, journal, staging folder, hashes, existing files.

In: verified pieces. Out: pieces to upload, and part files to commit.
"""
