"""Python's own mail libraries against the demo: `plain` through the proxy, `token` straight at the sandbox's mail server,
`provider` at its OAuth endpoints. Arguments come as one JSON object on stdin; any failure is a traceback and exit code 1."""

import base64, hashlib, imaplib, json, poplib, smtplib, socket, ssl, sys, time
import urllib.error, urllib.parse, urllib.request
from email.message import EmailMessage
from email.parser import BytesParser

USER = "demo@example.test"


def message(subject, attachment=None):
    mail = EmailMessage()
    mail["From"] = "Jörg Demo <demo@example.test>"
    mail["To"] = "Somebody <somebody@example.test>, Other <other@example.test>"
    mail["Subject"] = subject
    mail["Message-ID"] = "<%s@example.test>" % hashlib.sha256(subject.encode()).hexdigest()[:16]
    mail.set_content("First line\n.dot\nGrüße\n")
    if attachment:
        inner = EmailMessage()
        inner["Subject"] = "inner message"
        inner["From"] = "inner@example.test"
        inner.set_content("inner text\n")
        inner.add_alternative("<p>inner html</p>\n", subtype="html")
        mail.add_attachment(attachment, maintype="application", subtype="x-test", filename="a.bin")
        mail.add_attachment(inner)
    return mail


def ok(answer):
    kind, data = answer
    assert kind == "OK", answer
    return data


def try_imap(imap):
    """A day in the life of a mail program."""
    assert "IDLE" in imap.capabilities, imap.capabilities
    names = b" ".join(ok(imap.list())).decode()
    assert "INBOX" in names and "\\Sent" in names, names
    ok(imap.lsub())
    ok(imap.namespace())
    ok(imap.xatom("ID", "NIL"))
    before = int(ok(imap.select("INBOX"))[0])

    mail = message("Structure ü", b"\0\1\2" * 100)
    raw = mail.as_bytes(policy=mail.policy.clone(linesep="\r\n"))
    date = imaplib.Time2Internaldate(1700000000)
    kind, data = imap.append("INBOX", "(\\Flagged)", date, raw)
    assert kind == "OK" and b"APPENDUID" in data[0], data
    uid = data[0].split()[2].rstrip(b"]").decode()
    assert ok(imap.noop()) and int(ok(imap.select("INBOX"))[0]) == before + 1

    fetched = ok(imap.uid("FETCH", uid, "(BODY.PEEK[])"))[0][1]
    assert fetched == raw
    parsed = BytesParser().parsebytes(raw)

    def part(section):
        return ok(imap.uid("FETCH", uid, "(BODY.PEEK[%s])" % section))[0][1]

    assert part("HEADER") + part("TEXT") == raw
    parts = parsed.get_payload()
    # A part ends before the line break that belongs to the boundary.
    for number, wanted in (("1", parts[0]), ("2", parts[1])):
        got = part(number)
        assert got == wanted.get_payload().encode(), (number, got, wanted.get_payload())
    assert b"x-test" in part("2.MIME").lower()
    assert b"inner message" in part("3.HEADER")
    assert b"inner text" in part("3.1") and b"inner html" in part("3.2")
    assert b"inner text" in part("3.TEXT") and b"multipart/alternative" in part("3")
    fields = part("HEADER.FIELDS (SUBJECT From)")
    assert fields.lower().count(b"\r\n") >= 3 and b"to:" not in fields.lower(), fields
    assert b"Subject:" not in part("HEADER.FIELDS.NOT (SUBJECT)")
    assert part("TEXT") == b"".join(
        ok(imap.uid("FETCH", uid, "(BODY.PEEK[TEXT]<%d.100>)" % at))[0][1] for at in range(0, len(part("TEXT")), 100))

    info = b" ".join(x if isinstance(x, bytes) else b" ".join(x) for x in ok(
        imap.uid("FETCH", uid, "(FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE)"))).decode()
    for words in ("\\Flagged", "14-Nov-2023 22:13:20", "RFC822.SIZE %d" % len(raw), '"somebody" "example.test"',
                  '"x-test"', '"rfc822"', '"alternative"', '"filename" "a.bin"', '"inner message"'):
        assert words in info, (words, info)
    assert info.count("(") == info.count(")"), info
    assert "\\Seen" not in info
    ok(imap.uid("FETCH", uid, "(BODY[TEXT])"))
    flags = ok(imap.uid("FETCH", uid, "(FLAGS)"))[0].decode()
    assert "\\Seen" in flags, flags

    def search(*words):
        return ok(imap.uid("SEARCH", *words))[0].decode().split()

    assert uid in search("ALL") and uid in search("SEEN") and uid not in search("UNSEEN")
    assert uid in search("SINCE", "1-Nov-2023", "BEFORE", "1-Dec-2023")
    assert search("HEADER", "Message-ID", mail["Message-ID"]) == [uid]
    assert uid in search("OR", "FROM", "inner", "(TO", "somebody", "LARGER", "100)")
    assert uid not in search("NOT", "UID", uid) and search("SUBJECT", '"no such thing"') == []

    ok(imap.uid("STORE", uid, "-FLAGS.SILENT", "(\\Flagged)"))
    assert b"$Label" in ok(imap.uid("STORE", uid, "+FLAGS", "($Label)"))[0]
    assert search("KEYWORD", "$Label") == [uid]
    ok(imap.uid("COPY", uid, "Trash"))
    assert imap.response("COPYUID")[1][0].split()[1:] == [uid.encode(), b"1"]
    assert b"MESSAGES 1" in ok(imap.status("Trash", "(MESSAGES UNSEEN UIDNEXT UIDVALIDITY)"))[0]
    ok(imap.uid("STORE", uid, "+FLAGS", "(\\Deleted)"))
    ok(imap.expunge())
    assert uid not in search("ALL")
    ok(imap.select("Trash", readonly=True))
    assert imap.store("1", "+FLAGS", "(\\Seen)")[0] == "NO"
    ok(imap.select("Trash"))
    ok(imap.uid("MOVE", "1:*", "Drafts"))
    ok(imap.select("Drafts"))
    ok(imap.store("1:*", "+FLAGS", "(\\Deleted)"))
    ok(imap.close())
    assert b"MESSAGES 0" in ok(imap.status("Drafts", "(MESSAGES)"))[0]
    assert imap.create("Other")[0] == "NO" and imap.append("Other", None, None, b"x")[0] == "NO"


def try_idle(imap, deliver):
    ok(imap.select("INBOX"))
    tag = imap._new_tag()
    imap.send(tag + b" IDLE\r\n")
    assert imap.readline().startswith(b"+ ")
    deliver()
    assert imap.readline().rstrip().endswith(b"EXISTS")
    assert imap.readline().rstrip().endswith(b"RECENT")
    imap.send(b"DONE\r\n")
    assert imap.readline().startswith(tag + b" OK")


def try_pop3(pop3, mark):
    count, octets = pop3.stat()
    assert count > 0 and octets > 0 and len(pop3.list()[1]) == count
    uids = [line.split()[1] for line in pop3.uidl()[1]]
    assert len(set(uids)) == count
    assert any(b"Subject: " + mark in b"\n".join(pop3.top(n, 0)[1]) for n in range(1, count + 1))
    lines = pop3.retr(count)[1]
    assert b"Subject: " + mark in lines and b".dot" in lines, lines
    pop3.dele(count)
    assert pop3.stat()[0] == count - 1
    try:
        pop3.retr(count)
        raise AssertionError("a deleted message came back")
    except poplib.error_proto:
        pass
    pop3.rset()
    assert pop3.stat()[0] == count
    pop3.dele(count)
    pop3.quit()
    return count


def plain(args):
    def smtp():
        session = smtplib.SMTP("127.0.0.1", args["smtp"], timeout=20)
        session.login(USER, args["password"])
        return session

    def deliver():
        with smtp() as session:
            assert session.has_extn("SIZE") and session.has_extn("PIPELINING")
            session.send_message(message("through the proxy"))

    for wrong in ("wrong", ""):
        try:
            imaplib.IMAP4("127.0.0.1", args["imap"], timeout=20).login(USER, wrong or "x")
            raise AssertionError("a wrong password was taken")
        except imaplib.IMAP4.error as error:
            assert "AUTHENTICATIONFAILED" in str(error), error
    imap = imaplib.IMAP4("127.0.0.1", args["imap"], timeout=20)
    imap.login(USER, args["password"])
    try_imap(imap)
    try_idle(imap, deliver)
    imap.logout()
    pop3 = poplib.POP3("127.0.0.1", args["pop3"], timeout=20)
    pop3.user(USER)
    pop3.pass_(args["password"])
    try_pop3(pop3, b"through the proxy")


def token(args):
    context = ssl.create_default_context(cafile=args["ca"])
    sasl = "user=%s\1auth=Bearer %s\1\1" % (USER, args["token"])

    imap = imaplib.IMAP4_SSL("localhost", args["imap"], ssl_context=context, timeout=20)
    for refused in (lambda: imap.login(USER, "x"),
                    lambda: imap.authenticate("XOAUTH2", lambda c: b"" if c else sasl.replace("Bearer ", "Bearer x").encode())):
        try:
            refused()
            raise AssertionError("the sandbox let a stranger in")
        except imaplib.IMAP4.error as error:
            assert "AUTHENTICATIONFAILED" in str(error), error
    imap.authenticate("XOAUTH2", lambda _: sasl.encode())
    try_imap(imap)

    def smtp():
        session = smtplib.SMTP("127.0.0.1", args["smtp"], timeout=20)
        session.ehlo()
        assert not session.has_extn("AUTH")
        assert session.docmd("MAIL", "FROM:<x@example.test>")[0] == 530
        session.starttls(context=context)
        session.ehlo()
        assert session.esmtp_features["auth"].split() == ["XOAUTH2", "OAUTHBEARER"]
        assert session.docmd("MAIL", "FROM:<x@example.test>")[0] == 530
        session.auth("XOAUTH2", lambda _=None: sasl)
        return session

    def deliver():
        with smtp() as session:
            session.send_message(message("straight"))

    try_idle(imap, deliver)
    imap.logout()

    with smtp() as session:
        assert session.docmd("MAIL", "FROM:<a@example.test> SIZE=99999999")[0] == 552
        assert session.docmd("DATA")[0] == 503
        assert session.docmd("MAIL", "FROM:<a@example.test> BODY=8BITMIME")[0] == 250
        codes = [session.docmd("RCPT", "TO:<a%d@example.test>" % n)[0] for n in range(101)]
        assert codes == [250] * 100 + [452]
        session.rset()
        # A dot between bare line feeds ends nothing.
        session.mail(USER), session.rcpt(USER), session.docmd("DATA")
        session.send(b"Subject: bare\r\n\r\na\n.\nb\r\n.\r\n")
        assert session.getreply()[0] == 250
        session.mail(USER), session.rcpt(USER), session.docmd("DATA")
        session.send(b"Subject: large\r\n\r\n" + (b"x" * 998 + b"\r\n") * 6000 + b".\r\n")
        assert session.getreply()[0] == 552
        assert session.noop()[0] == 250

    pop3 = poplib.POP3_SSL("localhost", args["pop3"], context=context, timeout=20)
    assert "XOAUTH2" in pop3.capa()["SASL"]
    try:
        pop3.user(USER)
        raise AssertionError("USER was taken")
    except poplib.error_proto:
        pass
    bearer = "n,a=%s,\1host=localhost\1port=1\1auth=Bearer %s\1\1" % (USER, args["token"])
    pop3._shortcmd("AUTH OAUTHBEARER " + base64.b64encode(bearer.encode()).decode())
    lines = pop3.retr(pop3.stat()[0])[1]
    assert lines[-3:] == [b"a", b".", b"b"], lines
    pop3.dele(pop3.stat()[0])
    pop3.quit()
    pop3 = poplib.POP3_SSL("localhost", args["pop3"], context=context, timeout=20)
    pop3._shortcmd("AUTH OAUTHBEARER " + base64.b64encode(bearer.encode()).decode())
    try_pop3(pop3, b"straight")

    # What is too long, too much or no protocol at all ends a connection and harms nobody.
    for port, data in ((args["imap"], b"x" * 200000), (args["pop3"], b"x" * 200000),
                       (args["imap"], b"a APPEND INBOX {4000000000+}\r\n"), (args["imap"], b"\r\n" * 10)):
        with context.wrap_socket(socket.create_connection(("127.0.0.1", port), 20), server_hostname="localhost") as wire:
            try:
                wire.sendall(data)
                wire.settimeout(5)
                while wire.recv(65536):
                    if len(data) < 100 and data != b"a APPEND INBOX {4000000000+}\r\n":
                        break
            except (ConnectionError, ssl.SSLError):
                pass


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


def http(url, data=None, headers={}):
    request = urllib.request.Request(url, data and urllib.parse.urlencode(data).encode(), headers)
    try:
        answer = urllib.request.build_opener(NoRedirect).open(request, timeout=10)
    except urllib.error.HTTPError as error:
        answer = error
    return answer.status, answer.headers, answer.read().decode()


def provider(args):
    issuer, client = args["issuer"], "mailwicket-demo"
    status, _, body = http(issuer + ".well-known/openid-configuration")
    metadata = json.loads(body)
    assert status == 200 and metadata["issuer"] == issuer
    assert metadata["authorization_response_iss_parameter_supported"] is True
    authorize, token = metadata["authorization_endpoint"], metadata["token_endpoint"]
    verifier = "v" * 43
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
    redirect = "http://127.0.0.1:9/back?x=1"
    good = {"response_type": "code", "client_id": client, "redirect_uri": redirect, "state": "s&<1>",
            "code_challenge": challenge, "code_challenge_method": "S256", "scope": "openid offline_access mail"}

    def ask(**changes):
        pairs = {name: value for name, value in {**good, **changes}.items() if value is not None}
        return http(authorize + "?" + urllib.parse.urlencode(pairs))

    def back(headers):
        url = urllib.parse.urlparse(headers["Location"])
        assert url.netloc == "127.0.0.1:9" and url.path == "/back", url
        return dict(urllib.parse.parse_qsl(url.query))

    # What may not be trusted is told on a page, never by redirect.
    for changes in ({"client_id": "other"}, {"redirect_uri": "https://evil.example/"}, {"redirect_uri": "http://evil.example/"},
                    {"redirect_uri": None}, {"redirect_uri": "javascript:alert(1)"}):
        status, headers, body = ask(**changes)
        assert status == 400 and "Location" not in headers and "evil" not in body and "alert" not in body, changes
    # Everything else goes back to the program, with the state and the issuer.
    for changes, error in (({"code_challenge": None}, "invalid_request"), ({"code_challenge_method": "plain"}, "invalid_request"),
                           ({"response_type": "token"}, "unsupported_response_type"), ({"scope": "other"}, "invalid_scope")):
        status, headers, _ = ask(**changes)
        query = back(headers)
        assert (status, query["error"], query["state"], query["iss"], query["x"]) == (302, error, "s&<1>", issuer, "1"), query

    def decide(decision):
        status, headers, page = ask(consent="guess")
        assert status == 200 and "demo@example.test" in page and "s&" not in page
        name = page.split('name="page" value="')[1].split('"')[0]
        status, headers, _ = http(authorize, {"page": name, "decision": decision})
        assert status == 302
        assert http(authorize, {"page": name, "decision": decision})[0] == 400
        return back(headers)

    assert decide("deny")["error"] == "access_denied"
    answer = decide("allow")
    assert answer["iss"] == issuer and answer["state"] == "s&<1>"

    def exchange(**changes):
        pairs = {"grant_type": "authorization_code", "code": answer["code"], "redirect_uri": redirect,
                 "client_id": client, "code_verifier": verifier, **changes}
        status, headers, body = http(token, {name: value for name, value in pairs.items() if value is not None})
        assert headers["Cache-Control"] == "no-store"
        return status, json.loads(body)

    assert exchange(code_verifier=None) == (400, {"error": "invalid_request", "error_description": "code_verifier is missing (RFC 7636)"})
    assert exchange(client_id="other")[0] == 401 and exchange(client_id="other")[1]["error"] == "invalid_client"
    assert exchange(grant_type="password")[1]["error"] == "unsupported_grant_type"
    status, tokens = exchange()
    assert status == 200 and tokens["token_type"] == "Bearer" and tokens["expires_in"] > 0 and tokens["id_token"]
    refresh = {"grant_type": "refresh_token", "client_id": client, "refresh_token": tokens["refresh_token"]}
    status, _, body = http(token, refresh)
    assert status == 200 and json.loads(body)["refresh_token"] != tokens["refresh_token"]
    status, _, body = http(token, refresh)
    assert status == 400 and json.loads(body)["error"] == "invalid_grant"
    # A wrong verifier burns the code.
    answer = decide("allow")
    assert exchange(code_verifier="w" * 43)[1]["error"] == "invalid_grant"
    assert exchange()[1]["error"] == "invalid_grant"

    own = {"grant_type": "client_credentials", "client_id": client}
    assert http(token, own)[0] == 401
    assert http(token, {**own, "client_secret": "guess"})[0] == 401
    status, _, body = http(token, {**own, "client_secret": args["secret"]})
    assert status == 200 and "refresh_token" not in json.loads(body)
    basic = base64.b64encode((client + ":" + args["secret"]).encode()).decode()
    assert http(token, {"grant_type": "client_credentials"}, {"Authorization": "Basic " + basic})[0] == 200
    twice = http(token + "?", None)[0]
    assert twice == 405
    request = urllib.request.Request(token, b"grant_type=a&grant_type=b&client_id=" + client.encode())
    try:
        urllib.request.urlopen(request, timeout=10)
        raise AssertionError("a parameter came twice and nobody minded")
    except urllib.error.HTTPError as error:
        assert json.loads(error.read())["error"] == "invalid_request"


if __name__ == "__main__":
    {"plain": plain, "token": token, "provider": provider}[sys.argv[1]](json.load(sys.stdin))
