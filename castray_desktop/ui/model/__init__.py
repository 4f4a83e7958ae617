"""What several parts of the window share: the engine as Qt signals, the nodes, the selection of recipients,
preferences. No widgets.
"""
