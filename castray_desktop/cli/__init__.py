"""The command line, a client of the engine like the window.

In: the words after `castray`. Out: text or JSON on standard output, notes on standard error, and the exit
status. `entry.main` opens the window or runs a command. `commands` has one module for each command or for
a few related ones, `output` has what several of them print, and `session` is their connection to the engine.
"""
