"""`python -m art_flat` is the same as `art-flat`."""

from .cli.app import main

if __name__ == "__main__":
    main()
