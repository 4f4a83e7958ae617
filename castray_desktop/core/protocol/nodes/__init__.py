"""What engine, driver and agents tell each other, and what peers exchange on a data connection.

Orders (`agent_orders`), reports (`agent_reports`), what both name (`cast_parcel`) and their JSON
(`json_codec`), frames and handshake of the data port, the variables that say where it is, and the token
bucket that limits the rate. Standard library only: all of this folder is shipped to the nodes.
"""
