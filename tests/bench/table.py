#!/usr/bin/env python3
"""What confinement costs, beside the same without it and beside bubblewrap: one table, with ratios from one run.

  cargo build --release && python3 tests/bench/table.py            # all rows, about three minutes
  python3 tests/bench/table.py --rows gap,cold --program target/release/portcullis

Each row says what it is measured against, its target, and whether that is met here. What is compared is run in turn, round by round, so that a
machine that slows down slows all of it. Only Python's standard library, git, tar and a C compiler are needed; without bwrap its row is left out, with a word.
"""
import argparse, http.server, json, os, re, resource, shutil, socketserver, statistics, subprocess, sys, tempfile, threading, time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
median = statistics.median


class Model(socketserver.ThreadingMixIn, http.server.HTTPServer):
    """A Responses endpoint that asks for one call after another, and notes when requests come and answers go."""

    daemon_threads = True

    def __init__(self, calls, call, thinks, at_once=1):
        self.calls, self.call, self.thinks, self.at_once, self.asked = calls, call, thinks, at_once, 0
        self.begun, self.gaps, self.sizes, self.sent = None, [], [], None
        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def do_POST(self):
        model, now = self.server, time.perf_counter()
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if model.begun is None:
            model.begun = now
        if model.sent is not None:
            model.gaps.append((now - model.sent) * 1000)
        model.sizes.append(len(body))
        number, model.asked = model.asked, model.asked + 1
        time.sleep(model.thinks)
        if number < model.calls:
            numbers = range(number * model.at_once, (number + 1) * model.at_once)
            items = [{"type": "function_call", "id": f"fc_{n}", "call_id": f"call_{n}", "status": "completed", **model.call(n)} for n in numbers]
        else:
            text = [{"type": "output_text", "text": "done", "annotations": []}]
            items = [{"type": "message", "id": "msg", "role": "assistant", "status": "completed", "content": text}]
        usage = {"input_tokens": len(body) // 4, "output_tokens": 10, "total_tokens": 10, "input_tokens_details": {"cached_tokens": 0}}
        usage["output_tokens_details"] = {"reasoning_tokens": 0}
        response = {"id": f"resp_{number}", "object": "response", "status": "completed", "output": items, "usage": usage}
        events = [{"type": "response.created", "response": {**response, "status": "in_progress", "output": []}}]
        for place, item in enumerate(items):
            events += [{"type": f"response.output_item.{what}", "output_index": place, "item": item} for what in ("added", "done")]
        events.append({"type": "response.completed", "response": response})
        for place, event in enumerate(events):
            event["sequence_number"] = place
        stream = "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Content-Length", str(len(stream)))
        self.end_headers()
        self.wfile.write(stream)
        self.wfile.flush()
        model.sent = time.perf_counter()


FLOOR = r"""
import http.client, json, subprocess, sys
url = sys.argv[1]
host, path = url.split("//")[1].split("/", 1)
connection = http.client.HTTPConnection(host)
history = [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "go"}]}]
while True:
    connection.request("POST", "/" + path + "/responses", json.dumps({"model": "m", "stream": True, "input": history}), {"Content-Type": "application/json"})
    text = connection.getresponse().read().decode()
    events = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: ")]
    item = events[-1]["response"]["output"][0]
    if item["type"] != "function_call":
        break
    ran = subprocess.run(["bash", "-c", json.loads(item["arguments"])["command"]], capture_output=True, text=True)
    history += [item, {"type": "function_call_output", "call_id": item["call_id"], "output": ran.stdout + ran.stderr}]
"""


def shell(number):
    return {"name": "shell", "arguments": json.dumps({"command": f"echo step {number}", "workdir": None, "timeout_ms": None})}


def unknown(number):
    return {"name": "no_such_tool", "arguments": json.dumps({"number": number})}


class World:
    """A workspace, a home and a state folder."""

    def __init__(self, program):
        self.folder = tempfile.mkdtemp(prefix="portcullis-table-", dir="/var/tmp")
        for name in ("ws", "home", "state"):
            os.mkdir(f"{self.folder}/{name}")
        subprocess.run(["git", "init", "-q", self.at("ws")], check=True)
        self.program = program
        self.environment = {"PATH": "/usr/bin:/bin", "HOME": self.at("home"), "PORTCULLIS_HOME": self.at("state"), "LANG": "C.UTF-8"}

    def at(self, name):
        return f"{self.folder}/{name}"

    def exec(self, model, **more):
        command = [self.program, "exec", "--provider-url", model.url, "--model", "scripted", "go"]
        return subprocess.Popen(command, cwd=self.at("ws"), env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **more)

    def gone(self):
        shutil.rmtree(self.folder, ignore_errors=True)


def used():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def finished(process):
    assert process.wait(timeout=600) == 0, process.returncode


def gaps(program, thinks, calls=60, rounds=3):
    ours, floor = [], []
    for _ in range(rounds):
        model = Model(calls, shell, thinks)
        subprocess.run([sys.executable, "-c", FLOOR, model.url], check=True)
        floor += model.gaps
        world, model = World(program), Model(calls, shell, thinks)
        finished(world.exec(model))
        # The first call of a session finds nothing ready.
        ours += model.gaps[1:]
        world.gone()
    return median(ours), median(floor)


def row_gap(program):
    ours, floor = gaps(program, 0.06)
    yield "response's end to next request, one shell call, model thinks 60 ms", f"{ours:.1f} ms", f"{floor:.1f} ms without sandbox, log, session", ours / floor, 1.3
    ours, floor = gaps(program, 0)
    yield "the same, model answers at once", f"{ours:.1f} ms", f"{floor:.1f} ms likewise", ours / floor, 1.3


def row_cpu(program):
    costs = []
    for calls in (0, 200):
        world, model = World(program), Model(calls, unknown, 0)
        before = used()
        finished(world.exec(model))
        costs.append(used() - before)
        world.gone()
    yield "CPU of an iteration that starts nothing", f"{(costs[1] - costs[0]) / 200 * 1000:.2f} ms", "", (costs[1] - costs[0]) / 200 * 1000, 2


def row_start(program):
    times = []
    world = World(program)
    for _ in range(20):
        model = Model(0, shell, 0)
        began = time.perf_counter()
        process = world.exec(model)
        finished(process)
        times.append((model.begun - began) * 1000)
    world.gone()
    yield "start to first request", f"{median(times):.0f} ms", "", median(times), 30


def tree(pid):
    parents = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat") as stat:
                parents.setdefault(int(stat.read().rsplit(")", 1)[1].split()[1]), []).append(int(name))
        except OSError:
            pass
    found, pending = [], [pid]
    while pending:
        found.append(pending.pop())
        pending += parents.get(found[-1], [])
    return found


def held(pid):
    """Memory of all of it in MB, shared pages divided; what a program of the model's takes is not counted."""
    total = 0
    for each in tree(pid):
        try:
            if "portcullis" not in os.readlink(f"/proc/{each}/exe"):
                continue
            with open(f"/proc/{each}/smaps_rollup") as rollup:
                total += int(re.search(r"^Pss: +(\d+)", rollup.read(), re.M).group(1))
        except (OSError, AttributeError):
            pass
    return total / 1024


def size(folder):
    return sum(os.lstat(os.path.join(path, name)).st_size for path, _, names in os.walk(folder) for name in names)


def row_memory(program):
    world, model, calls, peak = World(program), Model(500, shell, 0.005), 500, 0
    process = world.exec(model)
    while process.poll() is None:
        peak = max(peak, held(process.pid))
        time.sleep(0.05)
    finished(process)
    written, visible = size(world.at("state")), model.sizes[-1] - model.sizes[0]
    world.gone()
    yield "peak memory of all processes, 500 calls", f"{peak:.0f} MB", "", peak, 25
    each, allowed = written / calls, 2 * visible / calls + 1024
    yield "written to disk per iteration, log and session", f"{each:.0f} bytes", f"2 × {visible / calls:.0f} visible bytes + 1 KB", each / allowed, 1


def row_cold(program):
    if shutil.which("bwrap") is None:
        print("left out: bwrap is not installed", file=sys.stderr)
        return
    world = World(program)
    workspace = world.at("ws")
    ours = [program, "sandbox", "--", "/bin/true"]
    bwrap = ["bwrap", "--die-with-parent", "--new-session", "--unshare-all", "--cap-drop", "ALL", "--ro-bind", "/", "/", "--tmpfs", "/tmp", "--bind", workspace, workspace]
    bwrap += ["--dev", "/dev", "--proc", "/proc", "--chdir", workspace, "--", "/bin/true"]
    times = {"ours": [], "bwrap": [], "bare": []}
    for _ in range(60):
        for name, command in (("ours", ours), ("bwrap", bwrap), ("bare", ["/bin/true"])):
            began = time.perf_counter()
            subprocess.run(command, cwd=workspace, env=world.environment, stdin=subprocess.DEVNULL, check=True)
            times[name].append((time.perf_counter() - began) * 1000)
    world.gone()
    ours, bwrap, bare = (median(times[name]) for name in ("ours", "bwrap", "bare"))
    yield "portcullis sandbox -- /bin/true", f"{ours:.1f} ms", f"{bwrap:.1f} ms by bwrap, {bare:.1f} bare", ours / bwrap, 0.7


SOURCE = "".join(f"int f{n}(int x) {{ int s = 0; for (int i = 0; i < x; i++) s += i * {n}; return s; }}\n" for n in range(2000))


def row_work(program):
    world = World(program)
    workspace = world.at("ws")
    for number in range(20000):
        if number % 100 == 0:
            os.makedirs(f"{workspace}/d{number // 100}")
        with open(f"{workspace}/d{number // 100}/f{number}", "w") as file:
            file.write("x")
    with open(f"{workspace}/big.c", "w") as file:
        file.write(SOURCE)
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", workspace]
    subprocess.run(git + ["add", "."], check=True)
    subprocess.run(git + ["commit", "-qm", "x"], check=True)
    # The work times itself, so that the launch does not count.
    def work(command):
        return ["/bin/sh", "-c", f"a=$(date +%s%N); {command} > /dev/null; b=$(date +%s%N); echo $((b - a))"]

    for what, command in (("git status of 20,000 files", "git status --short"), ("tar of 20,000 files", "tar -cf - d*"), ("a C build", "cc -O1 -c big.c -o /tmp/big.o")):
        times = {"in": [], "out": []}
        for _ in range(9):
            for name, around in (("in", [program, "sandbox", "--"]), ("out", [])):
                ran = subprocess.run(around + work(command), cwd=workspace, env=world.environment, capture_output=True, text=True, check=True)
                times[name].append(int(ran.stdout) / 1e6)
        inside, outside = median(times["in"]), median(times["out"])
        yield f"{what}, inside", f"{inside:.0f} ms", f"{outside:.0f} ms outside", inside / outside, 1.05
    world.gone()


def bench(name):
    build = ["cargo", "bench", "--locked", "--quiet", "--no-run", "--message-format=json", "--bench", name]
    built = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    told = [json.loads(line) for line in built.splitlines()]
    program = next(each["executable"] for each in told if each.get("executable") and each["target"]["name"] == name)
    # As it would be installed: what a linker has written page by page lies in memory so, and is mapped more slowly than what was copied at once.
    with tempfile.TemporaryDirectory(prefix="portcullis-bench-", dir="/var/tmp") as folder:
        return subprocess.run([shutil.copy(program, folder), "--bench"], cwd=ROOT, capture_output=True, text=True, check=True).stdout


def row_launch(_):
    text = bench("launch")
    of = lambda what: float(re.search(rf"^{re.escape(what)}: median ([\d.]+) ms", text, re.M).group(1))
    bare, ahead, cold = of("bare spawn of /bin/true"), of("/bin/true in a sandbox made ahead"), of("/bin/true in a sandbox made for it")
    yield "/bin/true as the agent launches it, made ahead", f"{ahead:.2f} ms", f"{bare:.2f} ms bare", ahead / bare, 1.25
    yield "the same, made for the call", f"{cold:.2f} ms", f"{bare:.2f} ms bare", cold / bare, None
    read, plain = of("read_file"), of("read of a file, and a copy")
    yield "read_file above the work itself", f"{read - plain:.2f} ms", "", read - plain, 1
    yield "8 at once", f"{of('8 of /bin/true at once'):.1f} ms", f"{of('8 bare spawns at once'):.1f} ms bare", of("8 of /bin/true at once") / of("8 bare spawns at once"), None
    yield "200 at once", f"{of('200 of /bin/true at once'):.0f} ms", "", of("200 of /bin/true at once"), None
    yield "among 20,000 files, made ahead", f"{of('/bin/true among many files, made ahead'):.2f} ms", "", of("/bin/true among many files, made ahead") / bare, None
    yield "among 20,000 files, made for the call", f"{of('/bin/true among many files, made for it'):.1f} ms", "", of("/bin/true among many files, made for it") / bare, None


def row_scale(program):
    world, model = World(program), Model(1, shell, 0.06, at_once=200)
    finished(world.exec(model))
    world.gone()
    yield "200 shell calls in one response, until the next request", f"{model.gaps[0]:.0f} ms", "", model.gaps[0], None
    worlds = [World(program) for _ in range(50)]
    models = [Model(10, shell, 0.5) for _ in worlds]
    began, peak = time.perf_counter(), 0
    sessions = [world.exec(model) for world, model in zip(worlds, models)]
    while any(session.poll() is None for session in sessions):
        peak = max(peak, sum(held(session.pid) for session in sessions if session.poll() is None))
        time.sleep(0.5)
    took = time.perf_counter() - began
    for session, world in zip(sessions, worlds):
        finished(session)
        world.gone()
    # Ten answers that take half a second each, and a last one.
    gap = median(gap for model in models for gap in model.gaps[1:])
    yield "50 sessions at once, 10 calls each", f"{took:.1f} s", "5.5 s of thinking", took / 5.5, None
    yield "a response's end to the next request in each of them", f"{gap:.0f} ms", "", gap, None
    yield "memory of all 50", f"{peak:.0f} MB", "", peak / 50, None


def row_decide(_):
    median_of = float(re.search(r"^understood .*median (\d+) µs", bench("decide"), re.M).group(1))
    yield "decision on 200 characters under 500 rules", f"{median_of:.0f} µs", "", median_of, 100


def row_binary(program):
    yield "the program, one file", f"{os.path.getsize(program) / 1e6:.1f} MB", "", os.path.getsize(program) / 1e6, 15


ROWS = {name[4:]: work for name, work in list(globals().items()) if name.startswith("row_")}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default=f"{ROOT}/target/release/portcullis")
    parser.add_argument("--rows", default=",".join(ROWS), help=f"some of {', '.join(ROWS)}")
    arguments = parser.parse_args()
    print(f"{time.strftime('%Y-%m-%d')}, Linux {os.uname().release.split('-')[0]}, {os.cpu_count()} cores, {'root' if os.geteuid() == 0 else 'an ordinary user'}\n")
    print("| what | here | beside | measure | target | |\n|---|---|---|---|---|---|")
    # The benches build another program where this one lies.
    kept = tempfile.mkdtemp(prefix="portcullis-table-", dir="/var/tmp")
    program = shutil.copy(arguments.program, f"{kept}/portcullis")
    for name in arguments.rows.split(","):
        # The kernel takes namespaces apart long after their processes are gone, and writes to the disk later still.
        time.sleep(5)
        for what, here, beside, measure, target in ROWS[name](program):
            goal, met = ("", "") if target is None else (f"{target:g}", "met" if measure <= target else "**not met**")
            print(f"| {what} | {here} | {beside} | {measure:.2f} | {goal} | {met} |", flush=True)
    shutil.rmtree(kept)


if __name__ == "__main__":
    main()
