"""What is sent: the manifest, the stream that it describes, pieces, byte ranges, exclude patterns and file
names.

Standard library only: all of this folder is shipped to the nodes.
"""
