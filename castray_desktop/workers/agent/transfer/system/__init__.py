"""What transfers need of the operating system and the interpreter: files, holes, system calls, hashes,
limits, clocks.
"""
