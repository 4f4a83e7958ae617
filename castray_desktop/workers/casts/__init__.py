"""All casts of one cluster: started, queued, commanded, published, retried, verified.

In: send requests and reports of agents. Out: orders to agents, events for clients, ended casts for the
history. `session` runs one cast.
"""
