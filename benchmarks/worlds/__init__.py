"""Worlds in which an agent obeys every injection that it reads, and the gate has to hold all the same.

A world is a module in this folder with `WORLD`, a `World` of `benchmarks.worlds.world`. Put another one beside them and
`python -m benchmarks obedient_agent --json` judges it too. Nothing in the gate knows any of them.
"""
