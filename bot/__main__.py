"""`python -m bot`."""

import sys

if __name__ == "__main__":
    try:
        from bot.cli import main

        code = main(sys.argv[1:])
    except KeyboardInterrupt:  # while it was still being loaded
        code = 130
    sys.exit(code)
