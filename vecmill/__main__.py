"""``python -m vecmill`` is the command line."""

from vecmill.cli.main import main

if __name__ == "__main__":
    main()
