"""What benchmarks run in: hosts in network namespaces, agents and clusters in them, servers, proxies, disks.
disks.

`lab` makes hosts; `lab_nodes` puts agents into them without Ray, `lab_clusters` real Ray nodes; `trials`
times casts and compares bytes. Tests of `tests/lab` use the same laboratory.
"""
