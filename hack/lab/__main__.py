"""`python -m lab`: see `lab.cli`."""

import signal
import sys

if __name__ == "__main__":
    # Loading takes most of a second, in which nothing was started yet: Ctrl-C then ends it without a traceback.
    ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if ours:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from lab.cli import main

    if ours:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # what asyncio and the commands go by
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
