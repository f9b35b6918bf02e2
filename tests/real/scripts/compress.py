"""Logs in with imaplib, switches compression on by hand and prints the first message."""
import imaplib
import sys
import zlib

port, user, password = sys.argv[1:]
imap = imaplib.IMAP4("127.0.0.1", int(port))
imap.login(user, password)
imap.send(b"z COMPRESS DEFLATE\r\n")
answer = imap.readline()
assert answer.startswith(b"z OK"), answer

deflate = zlib.compressobj(wbits=-15)
inflate = zlib.decompressobj(wbits=-15)
text = b""


def ask(command, tag):
    global text
    imap.sock.sendall(deflate.compress(command) + deflate.flush(zlib.Z_SYNC_FLUSH))
    while b"\r\n" + tag + b" OK" not in text:
        part = imap.sock.recv(65536)
        assert part, text
        text += inflate.decompress(part)


ask(b"y SELECT INBOX\r\n", b"y")
text = b""
ask(b"x FETCH 1 BODY.PEEK[]\r\n", b"x")
line, rest = text.split(b"\r\n", 1)
length = int(line[line.rindex(b"{") + 1:-1])
sys.stdout.buffer.write(rest[:length])
