"""The window: Qt only. Knows the types of core and the engine's client, nothing else."""
