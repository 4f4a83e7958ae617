"""What engine, driver and agents tell each other, and what peers exchange on a data connection.

Orders and reports (`agent_protocol`) and their JSON (`json_codec`), frames and handshake of the data port,
when which transport is tried, and the token bucket that limits the rate. Standard library only: all of this
folder is shipped to the nodes.
"""
