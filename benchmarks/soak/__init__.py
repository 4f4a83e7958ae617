"""A long run of casts and faults in a real Ray cluster: does anything grow, is every delivery accounted for?

In: a duration and a seed. Out: a run file (one JSON record a line), and from it a verdict and the curves of
`docs/soak.md`. `python -m benchmarks.soak --help` says more.
"""
