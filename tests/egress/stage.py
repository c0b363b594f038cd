# A small internet in a network namespace: public addresses on the loopback, names for them, and servers that note everything that reaches them.
# Reads one JSON object a line, runs what it says, and answers with what came of it and what was noted meanwhile.
import fcntl, http.server, json, os, socket, socketserver, ssl, struct, subprocess, sys, threading, time

folder, site = sys.argv[1], sys.argv[2]
PUBLIC, OTHER, PRIVATE, METADATA = "93.184.215.14", "93.184.215.15", "10.1.2.3", "169.254.169.254"
NAMES = f"""127.0.0.1 localhost
{PUBLIC} allowed.test www.allowed.test deep.www.allowed.test xn--bcher-kva.test
{OTHER} other.test allowed.test.other.test otherallowed.test
{PRIVATE} private.test
{METADATA} metadata.test
127.0.0.1 loop.test
{PUBLIC} mixed.test
{PRIVATE} mixed.test
"""
noted, lock = [], threading.Lock()


def note(what):
    with lock:
        noted.append(what)


def set_up():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        for number, address in enumerate(["127.0.0.1", PUBLIC, OTHER, PRIVATE, METADATA]):
            name = b"lo" if number == 0 else f"lo:{number}".encode()
            sockaddr = struct.pack("HH4s8x", socket.AF_INET, 0, socket.inet_aton(address))
            fcntl.ioctl(control, 0x8916, struct.pack("16s16s", name, sockaddr))  # SIOCSIFADDR
            netmask = struct.pack("HH4s8x", socket.AF_INET, 0, socket.inet_aton("255.255.255.255" if number else "255.0.0.0"))
            fcntl.ioctl(control, 0x891C, struct.pack("16s16s", name, netmask))  # SIOCSIFNETMASK
            fcntl.ioctl(control, 0x8914, struct.pack("16sh14x", name, 0x1 | 0x8 | 0x40))  # SIOCSIFFLAGS: up, loopback, running
    with open(f"{folder}/hosts", "w") as file:
        file.write(NAMES)
    subprocess.run(["mount", "--bind", f"{folder}/hosts", "/etc/hosts"], check=True)


class Web(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, *arguments):
        super().__init__(*arguments, directory=site)

    def log_message(self, *_):
        pass

    def do(self, plain):
        address = self.connection.getsockname()[0]
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        note({"http": self.command, "path": self.path, "host": self.headers.get("Host"), "at": address, "body": len(body),
              "headers": sorted(name.lower() for name in self.headers)})
        plain()

    def do_GET(self):
        self.do(super().do_GET)

    def do_HEAD(self):
        self.do(super().do_HEAD)

    def do_POST(self):
        def answer():
            self.send_response(200)
            self.send_header("Content-Length", "6")
            self.end_headers()
            self.wfile.write(b"posted")

        self.do(answer)


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 512

    def handle_error(self, *_):
        pass


class Secure(Server):
    context = None

    def get_request(self):
        stream, address = super().get_request()
        note({"tls": "connected", "at": stream.getsockname()[0]})
        return stream, address

    def finish_request(self, request, address):
        request.settimeout(10)
        wrapped = self.context.wrap_socket(request, server_side=True)
        try:
            super().finish_request(wrapped, address)
        finally:
            wrapped.close()


def serve(address, port, secure=False):
    server = (Secure if secure else Server)((address, port), Web)
    if secure:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(f"{folder}/cert.pem", f"{folder}/key.pem")
        context.sni_callback = lambda _, name, __: note({"tls": "named", "name": name})
        server.context = context
    threading.Thread(target=server.serve_forever, daemon=True).start()


def greet(address, port):
    listener = socket.create_server((address, port))

    def one(stream):
        stream.sendall(b"GREETING\r\n")
        stream.settimeout(5)
        try:
            note({"tcp": stream.recv(4096).decode("latin-1"), "at": address, "port": port})
        except OSError:
            note({"tcp": "", "at": address, "port": port})
        stream.close()

    def run():
        while True:
            threading.Thread(target=one, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=run, daemon=True).start()


def datagrams(address, port):
    receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver.bind((address, port))

    def run():
        while True:
            note({"udp": receiver.recv(4096).decode("latin-1"), "at": address, "port": port})

    threading.Thread(target=run, daemon=True).start()


set_up()
for address in (PUBLIC, OTHER, PRIVATE, METADATA, "127.0.0.1"):
    serve(address, 80)
for address in (PUBLIC, OTHER):
    serve(address, 443, secure=True)
    greet(address, 22)
    datagrams(address, 53)
datagrams("127.0.0.1", 53)
print("ready", flush=True)
for line in sys.stdin:
    request = json.loads(line)
    with lock:
        noted.clear()
    done = subprocess.run(request["run"], cwd=request["cwd"], env=request["env"], stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")
    time.sleep(0.15)
    with lock:
        answer = {"code": done.returncode, "out": done.stdout, "err": done.stderr, "noted": list(noted)}
    print(json.dumps(answer), flush=True)
