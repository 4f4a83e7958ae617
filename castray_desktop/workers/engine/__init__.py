"""The engine process: it owns the clients' socket, the clusters and all casts.

In: commands of clients. Out: replies, and events to every client. It ends five seconds after its last
client, unless it is kept.
"""
