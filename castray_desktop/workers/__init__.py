"""Everything that runs off the window: blocking or remote work, without Qt."""
