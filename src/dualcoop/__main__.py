"""`python -m dualcoop`, the same as the command `dualcoop`."""

from dualcoop.cli.app import main

if __name__ == "__main__":
    main()
