"""Moving files between nodes, on threads of the agent.

In: orders for a cast. Out: files in their final place, and reports. `source` reads, `peer` connects and
uploads, `delivery` downloads, verifies and commits, `store` holds pieces, `multicast` sends and receives
datagrams.
"""
