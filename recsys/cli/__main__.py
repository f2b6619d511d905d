"""`python -m recsys.cli`: the library's commands, without those that start flows."""

from recsys.cli.commands import main

if __name__ == "__main__":
    main()
