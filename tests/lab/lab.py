#!/usr/bin/env python3
"""The provider's side of the real-server tests: an OAuth provider, Dovecot and Postfix, in one temporary directory.

When all of it answers, one line of JSON on stdout says where everything is. The lab stands until stdin ends or TERM
arrives; then it stops its servers and removes the directory. So a test program that dies takes its lab along.

Every further line on stdin is a JSON command, and each is answered by one line:
  {"relay": {"port": N, "user": …, "password": …}}
      starts a Postfix that relays all mail through 127.0.0.1:N with a plain login, as an old mail server would;
      {"smtp": "127.0.0.1:N", "log": …}
  {"wrong-name": true}
      makes a second IMAP, POP3 and SMTP front with a certificate of the right CA for another host name;
      {"imap": …, "pop3": …, "smtp": …, "logs": […]}
  {"proxies": true}
      makes such a front once more, an https front of the OAuth provider with the same certificate, and two proxies that alone
      can resolve its host name: tinyproxy and microsocks, each with a login;
      {"host": …, "imap": …, "pop3": …, "smtp": …, "https": N, "http": N, "socks5": N, "user": …, "password": …, "log": …}

Every mailbox under example.test exists. Those of SHARED are opened by others' tokens, too, as /ctl/delegate says. Only XOAUTH2 and OAUTHBEARER are accepted, as the big providers do it.
"""

import ctypes
import http.client
import json
import os
import random
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
DOMAIN = "example.test"
SHARED = ["team", "pool-1", "pool-2"]
HIDDEN_HOST = "hidden.test"
PROXY_USER = "scanner"
PROXY_PASSWORD = "proxy-sesame-9"
READY_WITHIN = 60
STOP_WITHIN = 10
PR_SET_PDEATHSIG = 1
POSTFIX_MASTER = "/usr/lib/postfix/sbin/master"


class LabError(Exception):
    """Something did not start; the text is for the person who runs the tests."""


def needed(program):
    """Where an installed program is."""
    found = shutil.which(str(program), path=f"/usr/sbin:/sbin:{os.environ.get('PATH', '')}")
    if found is None:
        raise LabError(f"{program} is missing: run tests/lab/install")
    return found


# ---- ports and processes --------------------------------------------------------------------------------------


def free_ports(count):
    """Ports below the kernel's ephemeral range, so that no outgoing connection takes one before its server does.
    All are held at once, so that they differ."""
    held = []
    try:
        while len(held) < count:
            holder = socket.socket()
            try:
                holder.bind(("127.0.0.1", random.randrange(15000, 32000)))
                held.append(holder)
            except OSError:
                holder.close()
        return [holder.getsockname()[1] for holder in held]
    finally:
        for holder in held:
            holder.close()


def die_with_parent():
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


class Server:
    """One child, in a process group of its own, with a log."""

    def __init__(self, name, command, log):
        self.name, self.log = name, Path(log)
        output = open(self.log, "ab")
        self.process = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=die_with_parent,
        )

    def check(self):
        if self.process.poll() is not None:
            raise LabError(f"{self.name} ended with {self.process.returncode}\n{self.tail()}")

    def tail(self):
        lines = self.log.read_text(errors="replace").splitlines()[-30:]
        return "\n".join([f"--- {self.log}"] + lines)

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_WITHIN)
            except subprocess.TimeoutExpired:
                pass
        try:
            # The group is the child's own: whatever the server left behind goes too.
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()


def wait_for(server, what, answers, deadline):
    while True:
        server.check()
        try:
            if answers():
                return
        except (OSError, http.client.HTTPException):
            pass
        if time.monotonic() > deadline:
            raise LabError(f"{server.name}: {what} does not answer within {READY_WITHIN} s\n{server.tail()}")
        time.sleep(0.05)


def greets(port, tls=None):
    """Whether a server says something of its own accord."""

    def probe():
        with socket.create_connection(("127.0.0.1", port), 5) as plain:
            if tls is None:
                return bool(plain.recv(1))
            with tls.wrap_socket(plain, server_hostname="localhost") as wrapped:
                return bool(wrapped.recv(1))

    return probe


def listens(port):
    """Whether something accepts connections."""

    def probe():
        socket.create_connection(("127.0.0.1", port), 5).close()
        return True

    return probe


class TlsFront:
    """TLS before a plain server of this machine, as long as the lab stands."""

    def __init__(self, port, target, certificate, key):
        self.target = target
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate, key)
        self.listener = socket.create_server(("127.0.0.1", port))
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            visitor, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=(visitor,), daemon=True).start()

    def serve(self, visitor):
        try:
            with self.context.wrap_socket(visitor, server_side=True) as secured, \
                    socket.create_connection(("127.0.0.1", self.target), 5) as plain:
                answers = threading.Thread(target=pump, args=(plain, secured), daemon=True)
                answers.start()
                pump(secured, plain)
                answers.join(STOP_WITHIN)
        except OSError:
            pass  # a visitor that breaks off sees for itself


def pump(source, sink):
    """One direction, to its end."""
    try:
        while octets := source.recv(65536):
            sink.sendall(octets)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass


# ---- certificates ---------------------------------------------------------------------------------------------


def openssl(*words):
    done = subprocess.run(["openssl", *map(str, words)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabError(f"openssl {words[0]}: {done.stderr}")


def new_key_words(key):
    return ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key]


def make_ca(folder):
    extensions = ["basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign,cRLSign"]
    openssl("req", "-x509", *new_key_words(folder / "ca.key"), "-out", folder / "ca.pem", "-days", 2,
            "-subj", "/CN=mailwicket lab CA", *[word for text in extensions for word in ("-addext", text)])


def make_leaf(folder, name, alternatives):
    request, extensions = folder / f"{name}.csr", folder / f"{name}.ext"
    extensions.write_text(
        f"basicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth\nsubjectAltName={alternatives}\n"
    )
    openssl("req", "-new", *new_key_words(folder / f"{name}.key"), "-out", request, "-subj", f"/CN={name}")
    openssl("x509", "-req", "-in", request, "-CA", folder / "ca.pem", "-CAkey", folder / "ca.key", "-CAcreateserial",
            "-days", 2, "-extfile", extensions, "-out", folder / f"{name}.pem")
    return folder / f"{name}.pem", folder / f"{name}.key"


# ---- the servers ----------------------------------------------------------------------------------------------

DOVECOT = """\
base_dir = {home}/run
state_dir = {home}/state
log_path = {home}/dovecot.log
protocols = imap pop3{lmtp_protocol}
listen = 127.0.0.1
ssl = yes
ssl_cert = <{certificate}
ssl_key = <{key}
auth_mechanisms = xoauth2 oauthbearer
auth_failure_delay = 0 secs
auth_cache_size = 0
first_valid_uid = 1
first_valid_gid = 1
mail_location = maildir:~/Maildir
mail_max_userip_connections = 1000
# Delivered mail keeps the lines it came with, and is there at once.
mail_fsync = never
mailbox_list_index = no
pop3_no_flag_updates = yes
lda_mailbox_autocreate = yes
default_vsz_limit = 0
default_client_limit = 4000
default_process_limit = 600
imap_idle_notify_interval = 2 mins
passdb {{
  driver = oauth2
  mechanisms = xoauth2 oauthbearer
  args = {home}/oauth2.conf.ext
}}
{shared}
userdb {{
  driver = static
  args = uid=mail gid=mail home={mail}/%u allow_all_users=yes
}}
# Failures from 127.0.0.1 would slow down everybody behind it, that is every test.
service anvil {{
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service auth {{
  inet_listener sasl {{
    address = 127.0.0.1
    port = {sasl}
  }}
}}
service imap-login {{
  inet_listener imap {{
    port = {imap_starttls}
  }}
  inet_listener imaps {{
    port = {imap_implicit}
    ssl = yes
  }}
}}
service pop3-login {{
  inet_listener pop3 {{
    port = {pop3_starttls}
  }}
  inet_listener pop3s {{
    port = {pop3_implicit}
    ssl = yes
  }}
}}
protocol imap {{
  mail_plugins = $mail_plugins imap_zlib
}}
"""

DOVECOT_LMTP = """\
service lmtp {{
  inet_listener lmtp {{
    address = 127.0.0.1
    port = {lmtp}
  }}
}}
"""

# Asked when the one before has said that a token is not the mailbox's own.
DOVECOT_SHARED = """\
passdb {{
  driver = oauth2
  mechanisms = xoauth2 oauthbearer
  args = {home}/{name}.conf.ext
}}
"""

DOVECOT_OAUTH2 = """\
introspection_mode = post
introspection_url = http://dovecot:dovecot-secret@127.0.0.1:{oidc}/{introspection}
username_attribute = email
active_attribute = active
active_value = true
timeout_msecs = 10000
max_parallel_connections = 100
"""

POSTFIX = """\
compatibility_level = 3.6
config_directory = {home}
queue_directory = {home}/queue
data_directory = {home}/data
meta_directory = /etc/postfix
maillog_file = {home}/postfix.log
maillog_file_prefixes = {home}
multi_instance_enable = no
myhostname = localhost
myorigin = {domain}
mydestination =
mynetworks =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
smtp_dns_support_level = disabled
smtpd_peername_lookup = no
alias_maps =
alias_database =
local_recipient_maps =
biff = no
default_process_limit = 200
in_flow_delay = 0
message_size_limit = 52428800
mailbox_size_limit = 0
virtual_mailbox_limit = 0
# Messages arrive as they were sent: no line folded, no header added, dropped, cut or rewritten.
lmtp_line_length_limit = 0
smtp_line_length_limit = 0
line_length_limit = 65536
header_size_limit = 1048576
local_header_rewrite_clients =
remote_header_rewrite_domain =
message_drop_headers =
always_add_missing_headers = no
disable_mime_input_processing = yes
disable_mime_output_conversion = yes
# Tests come in crowds and make mistakes on purpose.
smtpd_error_sleep_time = 0
smtpd_soft_error_limit = 1000
smtpd_hard_error_limit = 1000
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
smtpd_client_auth_rate_limit = 0
"""

POSTFIX_PROVIDER = """\
smtpd_tls_security_level = may
smtpd_tls_auth_only = yes
smtpd_tls_cert_file = {certificate}
smtpd_tls_key_file = {key}
smtpd_tls_session_cache_database =
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = inet:127.0.0.1:{sasl}
smtpd_sasl_response_limit = 65536
smtpd_relay_restrictions = permit_sasl_authenticated, reject
smtpd_recipient_restrictions = permit_sasl_authenticated, reject
virtual_mailbox_domains = {domain}
virtual_transport = lmtp:inet:[127.0.0.1]:{lmtp}
lmtp_destination_recipient_limit = 1
"""

POSTFIX_RELAY = """\
mynetworks = 127.0.0.0/8
smtpd_relay_restrictions = permit_mynetworks, reject
relayhost = [127.0.0.1]:{wicket}
smtp_host_lookup = native
smtp_tls_security_level = none
smtp_sasl_auth_enable = yes
smtp_sasl_password_maps = inline:{{ {{ [127.0.0.1]:{wicket} = {user}:{password} }} }}
smtp_sasl_security_options =
minimal_backoff_time = 1s
maximal_backoff_time = 2s
queue_run_delay = 1s
"""

MASTER = """\
postlog unix-dgram n - n - 1 postlogd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
proxywrite unix - - n - 1 proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
lmtp unix - - n - - lmtp
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
"""


TINYPROXY = """\
Port {port}
Listen 127.0.0.1
Timeout 600
LogLevel Connect
MaxClients 100
BasicAuth {user} {password}
"""


class Lab:
    """All servers and where they are."""

    def __init__(self, folder):
        self.folder = folder
        self.deadline = time.monotonic() + READY_WITHIN
        self.servers = []
        self.mail = folder / "mail"
        self.trust = None

    def start(self):
        self.folder.chmod(0o755)  # Dovecot's and Postfix's own users pass through
        self.mail.mkdir()
        shutil.chown(self.mail, "mail", "mail")
        make_ca(self.folder)
        self.trust = ssl.create_default_context(cafile=str(self.folder / "ca.pem"))
        leaf = make_leaf(self.folder, "localhost", "DNS:localhost,IP:127.0.0.1,IP:::1")
        (self.oidc,) = free_ports(1)
        self.start_oidc()
        mailboxes = self.start_dovecot("dovecot", leaf, lmtp=True)
        self.lmtp = mailboxes["lmtp"]
        submission = self.start_postfix("postfix", leaf, mailboxes["sasl"])
        return self.describe(mailboxes, submission)

    def start_oidc(self):
        node = HERE / ".node/bin/node"
        node = node if node.exists() else needed("node")
        if not (HERE / "node_modules/oidc-provider").is_dir():
            raise LabError("oidc-provider is missing: run tests/lab/install")
        command = [node, HERE / "oidc-server.mjs", self.oidc]
        server = self.add(Server("the OAuth provider", command, self.folder / "oidc.log"))

        def answers():
            connection = http.client.HTTPConnection("127.0.0.1", self.oidc, timeout=5)
            connection.request("GET", "/.well-known/openid-configuration")
            return connection.getresponse().status == 200

        wait_for(server, "its configuration page", answers, self.deadline)

    def start_dovecot(self, name, leaf, lmtp):
        home = self.folder / name
        home.mkdir()
        names = ["sasl", "imap_implicit", "imap_starttls", "pop3_implicit", "pop3_starttls", "lmtp"]
        ports = dict(zip(names, free_ports(len(names))))
        text = DOVECOT + (DOVECOT_LMTP if lmtp else "")
        (home / "dovecot.conf").write_text(text.format(
            shared="".join(DOVECOT_SHARED.format(home=home, name=name) for name in SHARED),
            home=home, mail=self.mail, certificate=leaf[0], key=leaf[1],
            lmtp_protocol=" lmtp" if lmtp else "", **ports,
        ))
        for file, introspection in [
            ("oauth2", "token/introspection"),
            *((name, f"shared/{name}@{DOMAIN}") for name in SHARED),
        ]:
            settings = DOVECOT_OAUTH2.format(oidc=self.oidc, introspection=introspection)
            (home / f"{file}.conf.ext").write_text(settings)
        server = self.add(Server(name, [needed("dovecot"), "-F", "-c", home / "dovecot.conf"], home / "dovecot.log"))
        tls = self.trust if lmtp else None
        probes = {
            "imap_starttls": None, "pop3_starttls": None, "imap_implicit": tls, "pop3_implicit": tls,
            **({"lmtp": None} if lmtp else {}),
        }
        for port, context in probes.items():
            if context is None and port.endswith("implicit"):
                continue  # this certificate is wrong on purpose
            wait_for(server, port, greets(ports[port], context), self.deadline)
        return ports

    def start_postfix(self, name, leaf, sasl):
        home = self.folder / name
        ports = dict(zip(["smtp_starttls", "smtp_implicit"], free_ports(2)))
        settings = POSTFIX_PROVIDER.format(
            certificate=leaf[0], key=leaf[1], sasl=sasl, lmtp=self.lmtp, domain=DOMAIN
        )
        services = (
            f"127.0.0.1:{ports['smtp_starttls']} inet n - n - 400 smtpd\n"
            f"127.0.0.1:{ports['smtp_implicit']} inet n - n - 400 smtpd -o smtpd_tls_wrappermode=yes\n"
        )
        server = self.run_postfix(name, home, settings, services)
        wait_for(server, "smtp_starttls", greets(ports["smtp_starttls"]), self.deadline)
        return ports

    def run_postfix(self, name, home, settings, services):
        home.mkdir()
        for folder in ("queue", "data"):
            (home / folder).mkdir()
        shutil.chown(home / "data", "postfix", "postfix")
        (home / "main.cf").write_text(POSTFIX.format(home=home, domain=DOMAIN) + settings)
        (home / "master.cf").write_text(MASTER + services)
        # Makes the queue's folders. Then master itself, not `postfix start-fg`, whose shell would not pass on TERM.
        subprocess.run([needed("postfix"), "-c", home, "check"], capture_output=True, check=False)
        return self.add(Server(name, [POSTFIX_MASTER, "-c", home, "-s"], home / "postfix.log"))

    def start_relay(self, order):
        name = f"relay-{len(self.servers)}"
        home = self.folder / name
        (port,) = free_ports(1)
        settings = POSTFIX_RELAY.format(wicket=order["port"], user=order["user"], password=order["password"])
        server = self.run_postfix(name, home, settings, f"127.0.0.1:{port} inet n - n - 20 smtpd\n")
        wait_for(server, "smtp", greets(port), time.monotonic() + READY_WITHIN)
        return {"smtp": f"127.0.0.1:{port}", "log": str(server.log)}

    def start_wrong_name(self):
        return self.start_front("elsewhere", "elsewhere.test")

    def start_front(self, name, host):
        """A second way into the same mailboxes, with a certificate for this host."""
        leaf = make_leaf(self.folder, name, f"DNS:{host}")
        self.deadline = time.monotonic() + READY_WITHIN
        mailboxes = self.start_dovecot(f"{name}-dovecot", leaf, lmtp=False)
        submission = self.start_postfix(f"{name}-postfix", leaf, mailboxes["sasl"])
        return endpoints(mailboxes, submission) | {
            "logs": [str(self.folder / f"{name}-dovecot/dovecot.log"),
                     str(self.folder / f"{name}-postfix/postfix.log")],
        }

    def start_proxies(self):
        """Nobody but the proxies knows the host of what is behind them: they have a hosts file of their own."""
        front = self.start_front("hidden", HIDDEN_HOST)
        https, connect, socks5 = free_ports(3)
        TlsFront(https, self.oidc, self.folder / "hidden.pem", self.folder / "hidden.key")
        hosts = self.folder / "proxies-hosts"
        hosts.write_text(f"127.0.0.1 localhost\n127.0.0.1 {HIDDEN_HOST}\n")
        log = self.folder / "tinyproxy.log"
        settings = self.folder / "tinyproxy.conf"
        settings.write_text(TINYPROXY.format(port=connect, user=PROXY_USER, password=PROXY_PASSWORD))
        there = ["unshare", "--mount", "sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"', hosts]
        deadline = time.monotonic() + READY_WITHIN
        servers = [
            (Server("tinyproxy", [*there, needed("tinyproxy"), "-d", "-c", settings], log), connect),
            (Server("microsocks", [*there, needed("microsocks"), "-i", "127.0.0.1", "-p", socks5,
                                   "-u", PROXY_USER, "-P", PROXY_PASSWORD], self.folder / "microsocks.log"), socks5),
        ]
        for server, port in servers:
            wait_for(self.add(server), "its port", listens(port), deadline)
        return front | {
            "host": HIDDEN_HOST, "https": https, "http": connect, "socks5": socks5,
            "user": PROXY_USER, "password": PROXY_PASSWORD, "log": str(log),
        }

    def add(self, server):
        self.servers.append(server)
        return server

    def describe(self, mailboxes, submission):
        issuer = f"http://127.0.0.1:{self.oidc}"
        return {
            "dir": str(self.folder),
            "ca_file": str(self.folder / "ca.pem"),
            "issuer": issuer,
            "authorize_url": f"{issuer}/auth",
            "token_url": f"{issuer}/token",
            "revoke_url": f"{issuer}/token/revocation",
            "introspection_url": f"{issuer}/token/introspection",
            "oidc_ctl": f"{issuer}/ctl/",
            **endpoints(mailboxes, submission),
            "lmtp": self.lmtp,
            "domain": DOMAIN,
            "mail_root": str(self.mail),
            "logs": [str(server.log) for server in self.servers],
        }

    def obey(self, line):
        order = json.loads(line)
        if "relay" in order:
            return self.start_relay(order["relay"])
        if "proxies" in order:
            return self.start_proxies()
        if "wrong-name" in order:
            return self.start_wrong_name()
        return {"error": f"unknown command {line.strip()}"}

    def stop(self):
        for server in reversed(self.servers):
            server.stop()


def endpoints(mailboxes, submission):
    ports = mailboxes | submission
    return {
        protocol: {way: ports[f"{protocol}_{way}"] for way in ("implicit", "starttls")}
        for protocol in ("imap", "pop3", "smtp")
    }


def say(answer):
    print(json.dumps(answer), flush=True)


def serve(lab, stop):
    """Commands until stdin ends."""
    for line in sys.stdin:
        try:
            say(lab.obey(line))
        except Exception as error:  # pylint: disable=broad-except  # the test that asked gets it
            say({"error": str(error)})
    stop.set()


def main():
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    folder = Path(tempfile.mkdtemp(prefix="mailwicket-lab-"))
    lab = Lab(folder)
    try:
        if os.geteuid() != 0:
            raise LabError("Postfix and Dovecot need root here")
        for program in ("openssl", "dovecot", "postfix", POSTFIX_MASTER):
            needed(program)
        say(lab.start())
        threading.Thread(target=serve, args=(lab, stop), daemon=True).start()
        stop.wait()
        return 0
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    finally:
        lab.stop()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
