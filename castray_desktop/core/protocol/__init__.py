"""The two protocols: `messages` between clients and engine, `nodes` between engine, driver, agents and
peers.
"""
