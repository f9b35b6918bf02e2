"""smtplib: sends standard input to the user himself."""
import smtplib
import sys

port, user, password = sys.argv[1:]
with smtplib.SMTP("127.0.0.1", int(port)) as smtp:
    smtp.login(user, password)
    smtp.sendmail(user, [user], sys.stdin.buffer.read(), mail_options=["BODY=8BITMIME"])
