"""Does with a security context of Kubernetes what a kubelet and its runtime do, as far as it decides what a process can enforce on others; then runs
a command in it.

    container.py CONTEXT COMMAND...

CONTEXT is a JSON object: `hostUsers`, `runAsUser`, `allowPrivilegeEscalation`, `dropAll`, `procMount` (Default, Unmasked), `seccompProfile`
(RuntimeDefault, Localhost, Unconfined), `readOnlyRootFilesystem`, and `writable`, the folders of its volumes. The network is the caller's, as a pod has one.

What containerd's default seccomp profile refuses to a process without CAP_SYS_ADMIN, and the paths that it masks, stand in here as lists. The local
profile refuses the same but for what a sandbox is made with.
"""

import ctypes
import json
import os
import platform
import signal
import struct
import sys

NEWNS, NEWUTS, NEWIPC, NEWUSER, NEWPID = 0x20000, 0x4000000, 0x8000000, 0x10000000, 0x20000000
MS_RDONLY, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 1, 32, 4096, 16384, 1 << 18
MASKED = ["/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/scsi", "/proc/timer_list", "/sys/firmware"]
READ_ONLY = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]
# clone; mount, umount2, pivot_root, unshare, sethostname; setns.
NUMBERS = {"x86_64": (0xC000003E, 56, [165, 166, 155, 272, 170], 308), "aarch64": (0xC00000B7, 220, [40, 39, 41, 97, 161], 268)}
# Everywhere the same: open_tree, move_mount, mount_setattr; fsopen, fsconfig, fsmount, fspick; clone3.
OPEN_TREES, NEW_MOUNTS, CLONE3 = [428, 429, 442], [430, 431, 432, 433], 435
libc = ctypes.CDLL(None, use_errno=True)


def call(function, *arguments):
    arguments = [a.encode() if isinstance(a, str) else a for a in arguments]
    if getattr(libc, function)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{function}{arguments}: {os.strerror(number)}")


def mount(source, target, kind=None, flags=0):
    call("mount", source, target, kind, ctypes.c_ulong(flags), None)


def set_read_only(path, on, recursive=False):
    attributes = struct.pack("QQQQ", 1 if on else 0, 0 if on else 1, 0, 0)
    if libc.syscall(442, -100, path.encode(), 0x8000 if recursive else 0, attributes, len(attributes)) != 0:
        raise OSError(ctypes.get_errno(), f"mount_setattr {path}")


def refuse_as_a_runtime_does(local):
    architecture, clone, views, setns = NUMBERS[platform.machine()]
    refused = [setns] + NEW_MOUNTS + ([] if local else views + OPEN_TREES)
    load, equal, any_bit, give = 0x20, 0x15, 0x45, 0x06
    allow, eperm, enosys = 0x7FFF0000, 0x00050001, 0x00050026
    code = [(load, 0, 0, 4), (equal, 1, 0, architecture), (give, 0, 0, allow), (load, 0, 0, 0)]
    for number in refused:
        code += [(equal, 0, 1, number), (give, 0, 0, eperm)]
    code += [(equal, 0, 1, CLONE3), (give, 0, 0, enosys)]
    if not local:
        code += [(equal, 0, 3, clone), (load, 0, 0, 16), (any_bit, 0, 1, 0x7E020000), (give, 0, 0, eperm)]
    code += [(give, 0, 0, allow)]
    text = b"".join(struct.pack("HBBI", *instruction) for instruction in code)
    held = ctypes.create_string_buffer(text)
    program = struct.pack("HxxxxxxP", len(code), ctypes.addressof(held))
    call("prctl", 22, ctypes.c_ulong(2), program, ctypes.c_ulong(0), ctypes.c_ulong(0))


def main(context, command):
    user, host_users = context["runAsUser"], context["hostUsers"]
    outside = (os.getuid(), os.getgid())
    call("unshare", NEWNS | NEWPID | NEWIPC | NEWUTS | (0 if host_users else NEWUSER))
    if not host_users:
        for file, text in (("setgroups", "deny"), ("uid_map", f"{user} {outside[0]} 1"), ("gid_map", f"{user} {outside[1]} 1")):
            with open(f"/proc/self/{file}", "w") as target:
                target.write(text)
    child = os.fork()
    if child:
        signal.signal(signal.SIGTERM, lambda *_: os.kill(child, signal.SIGKILL))
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    call("prctl", 1, ctypes.c_ulong(signal.SIGKILL), 0, 0, 0)
    mount(None, "/", None, MS_REC | MS_PRIVATE)
    for folder in context["writable"]:
        mount(folder, folder, None, MS_BIND | MS_REC)
    if context["readOnlyRootFilesystem"]:
        set_read_only("/", True, recursive=True)
        for folder in context["writable"]:
            set_read_only(folder, False)
        set_read_only("/dev", False)
    mount("proc", "/proc", "proc")
    if context["procMount"] == "Default":
        for path in MASKED:
            if os.path.isdir(path):
                mount("tmpfs", path, "tmpfs", MS_RDONLY)
            elif os.path.exists(path):
                mount("/dev/null", path, None, MS_BIND)
        for path in filter(os.path.exists, READ_ONLY):
            mount(path, path, None, MS_BIND | MS_REC)
            set_read_only(path, True)
    if host_users:
        os.setgroups([])
        os.setgid(user)
    if context["dropAll"]:
        for capability in range(41):
            libc.prctl(24, ctypes.c_ulong(capability), 0, 0, 0)
    if host_users:
        os.setuid(user)
    if not context["allowPrivilegeEscalation"] or context["seccompProfile"] != "Unconfined":
        call("prctl", 38, ctypes.c_ulong(1), ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0))
    if context["seccompProfile"] != "Unconfined":
        refuse_as_a_runtime_does(context["seccompProfile"] == "Localhost")
    # A uid other than 0 has no capabilities left behind this; uid 0 has those of its bounding set.
    os.execvp(command[0], command)


main(json.loads(sys.argv[1]), sys.argv[2:])
