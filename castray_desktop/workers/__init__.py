"""Everything outside the window's process or thread: engine, client, clusters, driver and agents. No Qt."""
