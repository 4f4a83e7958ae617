"""The fault matrix: one component fails in one way at one moment of a real cast, and five things are checked.

`fault_cells` has the words and the form of a cell, `fault_matrix` collects the cells of all modules,
`fault_checks` has what is checked, `fault_page` writes `docs/fault-matrix.md`. `agent_stage` runs cells over
agents in processes of their own, without Ray; `ray_stage` is a real cluster in network namespaces, on which
`stage_runner` runs the cells of `process_rows`. `python -m tests.faults` runs all of them, a pytest module
runs a sample.
"""
