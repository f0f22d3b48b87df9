"""Runs a command on a terminal of its own: `terminal.py ANSWER COMMAND...`. The answer is typed when a question ends in `[y/N] `,
and Ctrl-C when there is a file `interrupt`, which is removed."""

import os
import pty
import select
import sys

answer, command = sys.argv[1], sys.argv[2:]
child, terminal = pty.fork()
if child == 0:
    os.execv(command[0], command)
seen, answered = b"", False
while True:
    if os.path.exists("interrupt"):
        os.remove("interrupt")
        os.write(terminal, b"\x03")
    if not select.select([terminal], [], [], 0.02)[0]:
        continue
    try:
        piece = os.read(terminal, 65536)
    except OSError:  # Nobody has the terminal open any more.
        break
    if not piece:
        break
    seen += piece
    if not answered and b"[y/N] " in seen:
        os.write(terminal, answer.encode() + b"\n")
        answered = True
_, status = os.waitpid(child, 0)
sys.stdout.buffer.write(seen)
sys.stdout.flush()
sys.exit(os.waitstatus_to_exitcode(status))
