"""The clusters in use: drivers, nodes and their agents."""
