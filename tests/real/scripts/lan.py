"""mailwicket seen from a network, in a network namespace of its own: BINARY CONFIG. Two addresses stand for two machines."""

import http.client
import socket
import ssl
import subprocess
import sys
import urllib.parse

binary, config = sys.argv[1:]
SERVER, SCANNER, STRANGER = "10.9.8.1", "10.9.8.7", "10.9.8.8"


def ip(*words):
    subprocess.run(["ip", *words], check=True)


ip("link", "set", "lo", "up")
for address in (SERVER, SCANNER, STRANGER):
    ip("address", "add", address + "/32", "dev", "lo")

daemon = subprocess.Popen([binary, "--config", config, "run"], stderr=subprocess.PIPE, text=True)
ports = {}
while len(ports) < 2:
    line = daemon.stderr.readline()
    assert line, "the daemon has ended"
    words = line.split()
    if words[0] == "listening":
        ports[words[-1]] = int(words[2].rsplit(":", 1)[1])


class Program:
    """A mail program on the machine `source`."""

    def __init__(self, source, mode, trust=None):
        self.socket = socket.create_connection((SERVER, ports[mode]), 10, (source, 0))
        self.lines = self.socket.makefile("rb")
        if trust:
            self.secure(trust)

    def secure(self, trust):
        self.socket = trust.wrap_socket(self.socket, server_hostname=SERVER)
        self.lines = self.socket.makefile("rb")

    def hear(self):
        return self.lines.readline().decode().strip()

    def ask(self, command):
        self.socket.sendall(command.encode() + b"\r\n")
        return self.hear()


def says(what):
    print(what, flush=True)


LOGIN = "a LOGIN nobody wrong"

try:
    says("stranger none: " + Program(STRANGER, "tls=none").hear())
    for mode in ("tls=none", "tls=auto"):
        scanner = Program(SCANNER, mode)
        says(f"scanner {mode}: {scanner.hear()} {scanner.ask(LOGIN)}")
    stranger = Program(STRANGER, "tls=auto")
    says(f"stranger auto: {stranger.hear()} {stranger.ask(LOGIN)}")
    ca = subprocess.run([binary, "--config", config, "ca", "export"], check=True, capture_output=True, text=True)
    trust = ssl.create_default_context(cadata=ca.stdout)
    # By an address that nobody has written down anywhere.
    stranger = Program(STRANGER, "tls=auto", trust)
    says(f"stranger tls: {stranger.hear()} {stranger.ask(LOGIN)}")
    stranger = Program(STRANGER, "tls=auto")
    stranger.hear()
    says("stranger asks: " + stranger.ask("s STARTTLS"))
    stranger.secure(trust)
    says("stranger starttls: " + stranger.ask(LOGIN))
    link = subprocess.run([binary, "--config", config, "console", "--no-open"], check=True, capture_output=True, text=True)
    link = urllib.parse.urlsplit(link.stdout.strip())
    says(f"link: {link.scheme}")

    def visits(who, source, path, scheme="https", host=SERVER, cookie=""):
        """A browser on the machine `source`; the cookie that it is given."""
        options = {"timeout": 10, "source_address": (source, 0)}
        if scheme == "https":
            browser = http.client.HTTPSConnection(SERVER, link.port, context=trust, **options)
        else:
            browser = http.client.HTTPConnection(SERVER, link.port, **options)
        try:
            browser.request("GET", path, headers={"Host": f"{host}:{link.port}", "Cookie": cookie})
            answer = browser.getresponse()
            says(f"{who}: {answer.status}")
            return answer.getheader("Set-Cookie", "")
        except (OSError, http.client.HTTPException):
            says(f"{who}: hung up on")
            return ""

    key = f"{link.path}?{link.query}"
    visits("stranger's browser", STRANGER, key)
    visits("listed browser in clear", SCANNER, key, scheme="http")
    visits("listed browser by another name", SCANNER, key, host="rebound.example")
    visits("listed browser without a link", SCANNER, "/")
    cookie = visits("listed browser with the link", SCANNER, key)
    says("cookie: " + " ".join(word for word in ("__Secure-", "; Secure", "HttpOnly", "SameSite=Strict") if word in cookie))
    path = cookie.partition("Path=")[2].split(";")[0]
    cookie = cookie.split(";")[0]
    visits("listed browser with the cookie alone", SCANNER, "/", cookie=cookie)
    visits("listed browser with the cookie", SCANNER, path, cookie=cookie)
finally:
    daemon.terminate()
    for line in daemon.stderr:
        if "turned away" in line:
            says("log: " + line.strip())
    daemon.wait(30)
