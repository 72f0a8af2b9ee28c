"""Every figure that l3clf states about itself, measured by one command.

Run ``python -m benchmarks list`` from the repository's root to see what there is. Rule: a benchmark is a module with
a frozen dataclass `Options` and a function `run(options)` that returns a `record.Result`; it prints nothing but
progress, and speed is given as a ratio to a named peer measured in the same run.
"""
