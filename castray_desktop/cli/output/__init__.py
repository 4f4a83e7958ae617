"""What several commands print.

In: messages of the engine. Out: tables, lines and progress bars for people (`terminal`, `cast_text`,
`cast_reporters`), or JSON, one value on each line. What a single command prints is in the command's module.
"""
