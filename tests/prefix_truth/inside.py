# Runs inside a sandbox: takes [[operation, argument, ...], ...] on standard input and answers with one result for each.
import ctypes, errno, json, mmap, os, resource, signal, socket, subprocess, sys, threading

libc = ctypes.CDLL(None, use_errno=True)


def said(error):
    return errno.errorcode.get(error.errno, str(error.errno))


def read(path):
    try:
        if os.path.isdir(path):
            return {"list": sorted(os.listdir(path))}
        with open(path, "rb") as file:
            return {"text": file.read(4096).decode("latin-1")}
    except OSError as error:
        return {"errno": said(error), "message": error.strerror}


def make(path, content=b"made"):
    with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644), "wb") as file:
        file.write(content)


def write(path, content):
    try:
        make(path, content.encode())
        return {"ok": True}
    except OSError as error:
        return {"errno": said(error), "message": error.strerror}


def append(path, content):
    try:
        with open(path, "ab", 0) as file:
            file.write(content.encode())
        return {"ok": True}
    except OSError as error:
        return {"errno": said(error), "message": error.strerror}


def tried(ways):
    did, refused = [], {}
    for way, step in ways:
        try:
            step()
            did.append(way)
        except OSError as error:
            refused[way] = said(error)
    return {"did": did, "refused": refused}


def checked(result):
    if result != 0:
        raise OSError(ctypes.get_errno(), "")


def aside(path, folder):
    # A neighbour to be moved over `path`; where not even that can be made, there is nothing to move.
    neighbour = path + ".portcullis-aside"
    if folder:
        os.mkdir(neighbour)
        make(neighbour + "/inside")
    else:
        make(neighbour)
    return neighbour


def tidy(path):
    for name in (path + ".portcullis-aside/inside", path + ".portcullis-aside"):
        try:
            os.rmdir(name) if os.path.isdir(name) else os.remove(name)
        except OSError:
            pass


def over(path, folder, exchange=False):
    neighbour = aside(path, folder)
    try:
        if exchange:
            checked(libc.renameat2(-100, neighbour.encode(), -100, path.encode(), 2))
        else:
            os.rename(neighbour, path)
    finally:
        tidy(path)


def through_a_link(path):
    os.link(path, path + ".portcullis-link")
    try:
        with open(path + ".portcullis-link", "ab", 0) as file:
            file.write(b"x")
    finally:
        os.remove(path + ".portcullis-link")


def above(path, stop):
    # Folders between `path` and `stop`: moving one of them away would take the place with it.
    parent = os.path.dirname(path)
    while parent.startswith(stop + "/"):
        yield parent
        parent = os.path.dirname(parent)


def change(path, stop):
    new = path + "/portcullis-probe"
    if os.path.isdir(path) and not os.path.islink(path):
        ways = [
            ("make a file in it", lambda: make(new)),
            ("make a folder in it", lambda: os.mkdir(new + "-folder")),
            ("make a link in it", lambda: os.symlink("x", new + "-link")),
            ("move a folder over it", lambda: over(path, True)),
        ]
    else:
        ways = [
            ("append", lambda: open(path, "ab", 0).write(b"x")),
            ("truncate", lambda: os.truncate(path, 0)),
            ("write through a hard link", lambda: through_a_link(path)),
            ("move a file over it", lambda: over(path, False)),
        ]
    ways += [
        ("exchange it", lambda: over(path, False, True)),
        ("chmod", lambda: os.chmod(path, 0o777)),
        ("set its times", lambda: os.utime(path, (1, 1))),
        ("set an attribute", lambda: os.setxattr(path, "user.portcullis", b"1")),
        ("move it away", lambda: os.rename(path, path + ".gone")),
        ("remove it", lambda: os.rmdir(path) if os.path.isdir(path) else os.remove(path)),
    ]
    for parent in above(path, stop):
        ways.append(("move away " + parent, lambda parent=parent: os.rename(parent, parent + ".gone")))
    return tried(ways)


def create(path, stop):
    ways = [
        ("make the folders above", lambda: os.makedirs(os.path.dirname(path), exist_ok=True)),
        ("make a file", lambda: make(path)),
        ("write a file", lambda: open(path, "wb", 0).write(b"x")),
        ("make a folder", lambda: os.mkdir(path)),
        ("make a link", lambda: os.symlink("README", path)),
        ("make a fifo", lambda: os.mkfifo(path)),
        ("link a file there", lambda: os.link(stop + "/README", path)),
        ("move a file there", lambda: over(path, False)),
        ("move a folder there", lambda: over(path, True)),
        ("exchange it", lambda: over(path, False, True)),
        ("remove what is there", lambda: os.rmdir(path)),
    ]
    for parent in above(path, stop):
        ways.append(("move away " + parent, lambda parent=parent: os.rename(parent, parent + ".gone")))
    result = tried(ways)
    # The folders above may well be there, or be made; what counts is the place itself.
    result["did"] = [way for way in result["did"] if way != "make the folders above"]
    return result


def tcp(host, port):
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM) as connection:
            connection.settimeout(3)
            connection.connect((host, port))
            connection.sendall(b"hello")
        return {"ok": True}
    except OSError as error:
        return {"errno": said(error)}


def unix(path):
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(3)
            connection.connect("\0" + path[1:] if path.startswith("@") else path)
            connection.sendall(b"hello")
        return {"ok": True}
    except OSError as error:
        return {"errno": said(error)}


def family(number, kind):
    try:
        socket.socket(number, kind).close()
        return {"ok": True}
    except OSError as error:
        return {"errno": said(error)}


def pair():
    one, other = socket.socketpair()
    one.sendall(b"hello")
    return {"text": other.recv(5).decode()}


def listen():
    try:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            with socket.socket() as connection:
                connection.connect(listener.getsockname())
        return {"ok": True}
    except OSError as error:
        return {"errno": said(error)}


def link(path):
    try:
        return {"text": os.readlink(path)}
    except OSError as error:
        return {"errno": said(error)}


def allocate(limit, chunk):
    # Private writable mappings, not touched: it is their size that counts.
    held, maps = 0, []
    while held < 2 * limit:
        try:
            maps.append(mmap.mmap(-1, chunk, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000))
            held += chunk
        except OSError as error:
            return {"held": held, "errno": said(error)}
    return {"held": held, "errno": None}


def memory(limit, chunk):
    # The second process starts while the first one holds all it can get, so that the limit is seen to be each one's own.
    child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    first = allocate(limit, chunk)
    answer, _ = child.communicate(json.dumps([["allocate", limit, chunk]]).encode())
    return {"first": first, "second": json.loads(answer)[0]}


def processes(limit):
    children, stopped = [], None
    while len(children) < 2 * limit + 1000:
        try:
            child = os.fork()
        except OSError as error:
            stopped = said(error)
            break
        if child == 0:
            signal.pause()
            os._exit(0)
        children.append(child)
    for child in children:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    return {"alive": len(children) + 1, "errno": stopped}


def threads(limit):
    threading.stack_size(65536)
    end, count, stopped = threading.Event(), 1, None
    while count < 2 * limit + 1000:
        try:
            threading.Thread(target=end.wait, daemon=True).start()
        except RuntimeError as error:
            stopped = str(error)
            break
        count += 1
    end.set()
    return {"alive": count, "errno": stopped}


def files(limit):
    highest, stopped = 2, None
    while highest < 2 * limit + 10:
        try:
            highest = os.open("/dev/null", os.O_RDONLY)
        except OSError as error:
            stopped = said(error)
            break
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit + 1))
        raised = True
    except (OSError, ValueError):
        raised = False
    os.closerange(3, highest + 1)
    return {"open": highest + 1, "errno": stopped, "raised": raised}


def largest(path, limit):
    with open(path, "wb", 0) as file:
        file.seek(limit - 1)
        last = file.write(b"x")
        try:
            file.seek(limit)
            file.write(b"x")
            beyond = None
        except OSError as error:
            beyond = said(error)
        try:
            os.ftruncate(file.fileno(), limit + 1)
            longer = None
        except OSError as error:
            longer = said(error)
    size = os.stat(path).st_size
    os.remove(path)
    return {"last": last, "beyond": beyond, "longer": longer, "size": size}


def kill(pid):
    try:
        os.kill(pid, 0)
        return {"ok": True}
    except OSError as error:
        return {"errno": said(error)}


def syscall(number, *arguments):
    result = libc.syscall(ctypes.c_long(number), *[ctypes.c_long(argument) for argument in arguments])
    return {"ok": True} if result >= 0 else {"errno": errno.errorcode.get(ctypes.get_errno(), "?")}


def opened(path, flags, mode):
    try:
        os.close(os.open(path, flags, mode))
        return {"ok": True}
    except OSError as error:
        return {"errno": said(error)}


def chmod(path, mode):
    try:
        os.chmod(path, mode)
        return {"ok": True}
    except OSError as error:
        return {"errno": said(error)}


def run(*command):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")
    return {"code": done.returncode, "out": done.stdout, "err": done.stderr}


def proxied(host, port):
    try:
        with socket.create_connection(("127.0.0.1", 3128), 10) as stream:
            stream.sendall(f"CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
            return {"status": int(stream.recv(4096).split()[1])}
    except OSError as error:
        return {"errno": said(error)}


def resolve(name):
    try:
        return {"text": str(socket.getaddrinfo(name, 443))}
    except OSError as error:
        return {"errno": str(error)}


operations = {name: what for name, what in list(globals().items()) if callable(what)}
if __name__ == "__main__":
    print(json.dumps([operations[request[0]](*request[1:]) for request in json.load(sys.stdin)]))
