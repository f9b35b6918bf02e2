"""imaplib: prints the first message."""
import imaplib
import sys

port, user, password = sys.argv[1:]
with imaplib.IMAP4("127.0.0.1", int(port)) as imap:
    imap.login(user, password)
    imap.select("INBOX", readonly=True)
    _, parts = imap.fetch("1", "(BODY.PEEK[])")
    sys.stdout.buffer.write(parts[0][1])
