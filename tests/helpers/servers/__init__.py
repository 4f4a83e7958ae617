"""Servers of tests, with faults: a web server with ranges, S3, a hub, and a store without any server."""
