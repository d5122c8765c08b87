"""`python -m weirflow`."""

from weirflow.cli import main

if __name__ == "__main__":
    main()
