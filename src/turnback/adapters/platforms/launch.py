"""The first program of the application's process group: waits for the go-ahead, then becomes the command.

Run by path, as `python -I -S launch.py FD COMMAND...`, so it may import nothing of turnback. FD is one end
of a socket pair. A byte on it: the start stands in the journal, execute. Its end: whoever started us died
before that, and nobody would ever find the application again, so nothing is executed. An error of the
execution is sent back; the descriptor closes by itself when it succeeds.
"""

import os
import sys

NEVER_TOLD, CANNOT_EXECUTE = 125, 127


def main() -> None:
    fd, command = int(sys.argv[1]), sys.argv[2:]
    os.set_inheritable(fd, False)
    if not os.read(fd, 1):
        sys.exit(NEVER_TOLD)
    try:
        os.execvp(command[0], command)
    except OSError as e:
        os.write(fd, (e.strerror or "cannot be executed").encode())
        sys.exit(CANNOT_EXECUTE)


if __name__ == "__main__":
    main()
