"""Multicast: datagram format, receiver reports, and congestion control.

Standard library only: all of this folder is shipped to the nodes.
"""
