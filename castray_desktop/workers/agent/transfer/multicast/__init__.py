"""One stream of datagrams for all recipients of a cast: sender, receiver, reassembly, repair.

In: pieces of the source. Out: verified pieces in the recipients' stores; what is missing is requested
from the upstream.
"""
