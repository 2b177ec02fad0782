"""What Hive costs, measured. `python -m benchmarks list` names the benchmarks."""
