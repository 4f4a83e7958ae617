"""What engine, clients and clusters share: home folder paths, state files, settings, asyncio helpers."""
