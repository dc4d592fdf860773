"""`python -m bot`: the same as the `threadline` command."""

from bot.cli import main

if __name__ == "__main__":
    main()
