"""The agent: what runs on each node, as a Ray actor.

In: orders (`core.protocol.nodes.agent_orders`). Out: reports (`core.protocol.nodes.agent_reports`). Standard
library only, valid from Python 3.9: this folder is shipped to the nodes, with `core/content`,
`core/multicast`, `core/protocol/nodes`, `core/casts/transfer_options.py` and `core/failures/kinds.py`.
"""
