"""`python -m vrx`."""

from vrx.cli.app import main

if __name__ == "__main__":  # the processes that `bench` starts import this too
    main()
