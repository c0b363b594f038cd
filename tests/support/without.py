# Takes something away by a system call filter, as containers do, and becomes the rest of its arguments. x86-64 and aarch64 number
# Landlock's calls and clone3 alike.
import ctypes, os, platform, struct, sys
machine = platform.machine()
numbers = {"x86_64": dict(clone=56, unshare=272, mount=165, prctl=157, seccomp=317), "aarch64": dict(clone=220, unshare=97, mount=40, prctl=167, seccomp=277)}[machine]
LOAD, JUMP, TEST, RETURN = 0x20, 0x15, 0x45, 0x06
ALLOW, EPERM, ENOSYS, EINVAL = 0x7fff0000, 0x00050001, 0x00050026, 0x00050016
def refuse(number, answer): return [(LOAD, 0, 0, 0), (JUMP, 0, 1, number), (RETURN, 0, 0, answer)]
def refuse_flags(number, flags, answer): return [(LOAD, 0, 0, 0), (JUMP, 0, 3, number), (LOAD, 0, 0, 16), (TEST, 0, 1, flags), (RETURN, 0, 0, answer)]
def refuse_value(number, value, answer): return [(LOAD, 0, 0, 0), (JUMP, 0, 3, number), (LOAD, 0, 0, 16), (JUMP, 0, 1, value), (RETURN, 0, 0, answer)]
CLONE_NEWUSER = 0x10000000
program = {
    "landlock": refuse(444, ENOSYS) + refuse(445, ENOSYS) + refuse(446, ENOSYS),
    "namespaces": refuse_flags(numbers["clone"], CLONE_NEWUSER, EPERM) + refuse_flags(numbers["unshare"], CLONE_NEWUSER, EPERM) + refuse(435, ENOSYS),
    "mounts": refuse(numbers["mount"], EPERM),
    "seccomp": refuse(numbers["seccomp"], EINVAL) + refuse_value(numbers["prctl"], 22, EINVAL),
    # What Docker's default profile takes from a container without CAP_SYS_ADMIN.
    "container": refuse_flags(numbers["clone"], 0x7e020000, EPERM) + refuse(numbers["unshare"], EPERM) + refuse(435, ENOSYS) + refuse(numbers["mount"], EPERM)
        + sum([refuse(number, EPERM) for number in (428, 429, 430, 431, 432, 433, 442)], []),
    "nothing": [],
}[sys.argv[1]] + [(RETURN, 0, 0, ALLOW)]
code = b"".join(struct.pack("HBBI", *one) for one in program)
libc = ctypes.CDLL(None, use_errno=True)
buffer = ctypes.create_string_buffer(code)
class Program(ctypes.Structure): _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, ctypes.byref(Program(len(program), ctypes.addressof(buffer)))) == 0, ctypes.get_errno()
os.execv(sys.argv[2], sys.argv[2:])
