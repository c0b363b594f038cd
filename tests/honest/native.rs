//! C and C++: compilers, debuggers, sanitizers, build systems.

use crate::{
    job::{job, lacks},
    support::Host,
};

const PROGRAM: &str = "#include <stdio.h>\n#include <stdlib.h>\nint seven(void) { return 7; }\nint main(void) { char *p = malloc(4); p[0] = seven(); \
                       printf(\"%d\\n\", p[0]); free(p); return 0; }\n";

#[test]
fn programs_are_compiled_linked_inspected_and_profiled() {
    let host = Host::without_git();
    if lacks("honest::native::programs_are_compiled_linked_inspected_and_profiled", &["gcc", "g++", "ar", "ld"]) {
        return;
    }
    host.write("a.c", PROGRAM);
    host.write("b.cc", "#include <iostream>\n#include <thread>\nint main() { std::thread([] { std::cout << \"eight\\n\"; }).join(); }\n");
    let script = "gcc -O2 -g -Wall -pipe -o a a.c; ./a; g++ -pthread -o b b.cc; ./b; gcc -c a.c; ar rcs liba.a a.o; ld -r a.o -o r.o; nm liba.a | grep -c seven; \
                  gcc -shared -fPIC -o liba.so a.c; objdump -d a.o > disassembled; gcc -static -o static a.c; ./static; strip a; size a; \
                  gcc --coverage -o covered a.c; ./covered; gcov -n covered-a.gcda; ldd a; gcc -flto -O2 a.c -o lto; ./lto";
    let printed = job(&host, script);
    assert!(printed.starts_with("7\neight\n1\n7\n") && printed.contains("Lines executed:100.00%"), "{printed}");
    let mut outside = host.clean(host.workspace.join("a"));
    assert_eq!(outside.output().unwrap().stdout, b"7\n");
}

#[test]
fn a_project_is_configured_built_and_tested_by_cmake() {
    let host = Host::without_git();
    if lacks("honest::native::a_project_is_configured_built_and_tested_by_cmake", &["cmake", "gcc", "make"]) {
        return;
    }
    host.write("a.c", PROGRAM);
    host.write(
        "CMakeLists.txt",
        "cmake_minimum_required(VERSION 3.10)\nproject(p C)\nadd_executable(a a.c)\nenable_testing()\nadd_test(t a)\n",
    );
    let script = "cmake -S . -B build > /dev/null; cmake --build build -j2 > /dev/null; (cd build; ctest > log); touch a.c; cmake --build build > /dev/null; \
                  cmake --install build --prefix out > /dev/null || true; grep -c '100% tests passed' build/log";
    assert_eq!(job(&host, script), "1\n");
    assert!(host.has("build/a"));
}

#[test]
fn ones_own_programs_are_debugged_and_traced() {
    let host = Host::without_git();
    if lacks("honest::native::ones_own_programs_are_debugged_and_traced", &["gdb", "strace", "gcc"]) {
        return;
    }
    host.write("a.c", PROGRAM);
    let script = "gcc -g -O0 -o a a.c; gdb -q -batch -ex 'break seven' -ex run -ex backtrace -ex finish -ex continue ./a > debugged 2>&1; \
                  strace -f -o traced ./a; strace -c -o counted true; sleep 30 & gdb -q -batch -p $! -ex 'info registers' -ex detach > attached 2>&1; \
                  strace -p $! -o watched & until test -s watched; do sleep 0.05; done; kill %1; wait";
    job(&host, script);
    assert!(host.read("debugged").unwrap().contains("Value returned is $1 = 7"), "{:?}", host.read("debugged"));
    assert!(host.read("traced").unwrap().contains("+++ exited with 0 +++"));
    assert!(host.read("attached").unwrap().contains("detached"), "{:?}", host.read("attached"));
}

/// Compiles [`PROGRAM`] with a sanitizer, and a variant of it with a mistake that the sanitizer must find.
fn sanitized(kind: &str, mistake: &str, found: &str) {
    let host = Host::without_git();
    host.write("good.c", PROGRAM);
    host.write(
        "bad.c",
        &format!(
            "#include <stdlib.h>\n#include <pthread.h>\nint x; void *w(void *p) {{ x++; return p; }}\nint main(void) {{ {mistake} }}\n"
        ),
    );
    let script = format!(
        "gcc -g -fsanitize={kind} -o good good.c; ./good; gcc -g -pthread -fsanitize={kind} -o bad bad.c; code=0; ./bad 2> report || code=$?; test $code != 0"
    );
    assert_eq!(job(&host, &script), "7\n");
    assert!(host.read("report").unwrap().contains(found), "{:?}", host.read("report"));
}

#[test]
fn the_address_sanitizer_finds_a_mistake() {
    if !lacks("honest::native::the_address_sanitizer_finds_a_mistake", &["gcc"]) {
        sanitized("address", "char *p = malloc(4); volatile int i = 4; p[i] = 1; return 0;", "heap-buffer-overflow");
    }
}

#[test]
fn the_leak_sanitizer_finds_a_mistake() {
    if !lacks("honest::native::the_leak_sanitizer_finds_a_mistake", &["gcc"]) {
        sanitized("leak", "volatile char *p = malloc(4); p[0] = 1; p = 0; return 0;", "detected memory leaks");
    }
}

#[test]
fn the_thread_sanitizer_finds_a_mistake() {
    if !lacks("honest::native::the_thread_sanitizer_finds_a_mistake", &["gcc"]) {
        let mistake = "pthread_t t; pthread_create(&t, 0, w, 0); x++; pthread_join(t, 0); return 0;";
        sanitized("thread", mistake, "data race");
    }
}
