"""poplib: prints the first message."""
import poplib
import sys

port, user, password = sys.argv[1:]
pop3 = poplib.POP3("127.0.0.1", int(port))
pop3.user(user)
pop3.pass_(password)
_, lines, _ = pop3.retr(1)
sys.stdout.buffer.write(b"\r\n".join(lines) + b"\r\n")
pop3.quit()
