"""Choosing, starting, attaching and sharing a cluster."""
