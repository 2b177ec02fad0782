"""`python -m hive`: the same as `hive`."""

from hive.cli import main

if __name__ == "__main__":
    main()
