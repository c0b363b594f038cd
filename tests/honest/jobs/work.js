const { execSync, fork, spawn, execFile } = require("child_process");
const { Worker } = require("worker_threads");
const cluster = require("cluster");
const crypto = require("crypto");
const fs = require("fs");
const net = require("net");
const os = require("os");
const path = require("path");
const { promisify } = require("util");

if (process.argv[2] === "child") {
  process.on("message", (message) => { process.send(message); process.disconnect(); });
} else if (cluster.isWorker) {
  process.send("by cluster");
  cluster.worker.disconnect();
} else {
  process.stdout.write(execSync("echo by execSync"));
  spawn("sh", ["-c", "cat"], { stdio: ["pipe", "inherit", "inherit"] }).stdin.end("by spawn\n");
  promisify(execFile)("echo", ["by promise"]).then(({ stdout }) => process.stdout.write(stdout));

  const child = fork(__filename, ["child"]);
  child.on("message", (message) => console.log(message));
  child.send("by fork");
  cluster.fork().on("message", (message) => console.log(message));
  new Worker("require('worker_threads').parentPort.postMessage('by worker')", { eval: true }).on("message", (message) => console.log(message));

  const folder = fs.mkdtempSync(path.join(process.cwd(), "watched-"));
  const watcher = fs.watch(folder, () => { watcher.close(); console.log("watched"); });
  fs.writeFileSync(path.join(folder, "file"), "");

  const place = path.join(os.tmpdir(), "work.socket");
  const server = net.createServer((socket) => socket.end("by unix socket")).listen(place, () => {
    net.connect(place).on("data", (data) => { console.log(String(data)); server.close(); });
  });

  crypto.pbkdf2("a", "b", 1000, 32, "sha256", () => console.log("hashed"));
  os.cpus(); os.hostname(); os.userInfo(); os.totalmem(); fs.statfsSync(".");
}
