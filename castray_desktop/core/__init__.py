"""Pure rules and data types: no clock, no files, no sockets, no Qt, no Ray. Time and randomness are
arguments.
"""
