//! What a system call filter can say by a call's number alone, as a search among sorted numbers.
//!
//! seccompiler compares a number with one call after another. When a filter is installed, the kernel runs it once for every call that there is, to know
//! those that it always allows (`seccomp_cache_prepare`, Linux 5.11): for a list of three hundred that was most of a millisecond of each sandbox.

use seccompiler::sock_filter;

use super::Failure;

/// What follows for a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// The filter returns this (seccomp(2)).
    Return(u32),
    /// The instruction after these is next.
    GoOn,
}

/// Instructions for the kernel's classic BPF (linux/bpf_common.h, linux/filter.h).
const LOAD_WORD: u16 = 0x20;
const JUMP: u16 = 0x05;
const JUMP_IF_EQUAL: u16 = 0x15;
const JUMP_IF_AT_LEAST: u16 = 0x35;
/// The instruction that ends a filter with an answer.
pub const RETURN: u16 = 0x06;

/// How far a jump goes is known when all is there.
const TO_THE_END: u32 = u32::MAX;

/// Where a filter finds a call's number and the architecture that it was made for (`struct seccomp_data`, linux/seccomp.h).
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;

/// `named` for the calls that `numbers` has, `other` for all others. A call that was made for another architecture kills its process first, since its
/// number means something else.
///
/// # Errors
/// On an architecture that is not known here, and if a number is none.
pub fn by_number(numbers: impl IntoIterator<Item = i64>, named: Then, other: Then) -> Result<Vec<sock_filter>, Failure> {
    let failure = |reason: &str| Failure::new("compile the system call filter", reason);
    let expected = match std::env::consts::ARCH {
        "x86_64" => architecture::X86_64,
        "aarch64" => architecture::AARCH64,
        "riscv64" => architecture::RISCV64,
        _ => return Err(failure("this architecture has no number here")),
    };
    let mut numbers: Vec<u32> =
        numbers.into_iter().map(u32::try_from).collect::<Result<_, _>>().map_err(|_| failure("a call has no number"))?;
    numbers.sort_unstable();
    numbers.dedup();
    // Every number at which it changes whether calls are named: the beginnings and ends of runs, by turns.
    let mut edges = Vec::new();
    for number in numbers {
        if edges.last() == Some(&number) {
            edges.pop();
        } else {
            edges.push(number);
        }
        edges.push(number + 1);
    }
    let mut program = vec![
        one(LOAD_WORD, ARCHITECTURE),
        sock_filter { jt: 1, ..one(JUMP_IF_EQUAL, expected) },
        one(RETURN, libc::SECCOMP_RET_KILL_PROCESS),
        one(LOAD_WORD, NUMBER),
    ];
    program.extend(search(&edges, false, named, other));
    let length = program.len();
    for (place, instruction) in program.iter_mut().enumerate() {
        if instruction.code == JUMP && instruction.k == TO_THE_END {
            instruction.k = distance(length - place - 1);
        }
    }
    Ok(program)
}

/// The numbers of the architectures (linux/audit.h).
mod architecture {
    pub(super) const X86_64: u32 = 0xc000_003e;
    pub(super) const AARCH64: u32 = 0xc000_00b7;
    pub(super) const RISCV64: u32 = 0xc000_00f3;
}

fn one(code: u16, k: u32) -> sock_filter {
    sock_filter { code, jt: 0, jf: 0, k }
}

/// A program that the kernel takes has at most 4096 instructions (`BPF_MAXINSNS`).
fn distance(instructions: usize) -> u32 {
    u32::try_from(instructions).unwrap_or(u32::MAX)
}

/// Finds between which of `edges` a number lies. Below the first of them calls are named if `inside` says so.
fn search(edges: &[u32], inside: bool, named: Then, other: Then) -> Vec<sock_filter> {
    let middle = edges.len() / 2;
    let Some(edge) = edges.get(middle) else {
        return vec![match if inside { named } else { other } {
            Then::Return(value) => one(RETURN, value),
            Then::GoOn => one(JUMP, TO_THE_END),
        }];
    };
    let below = search(&edges[..middle], inside, named, other);
    let above = search(&edges[middle + 1..], inside ^ middle.is_multiple_of(2), named, other);
    let mut all = match u8::try_from(below.len()) {
        Ok(jt) => vec![sock_filter { jt, ..one(JUMP_IF_AT_LEAST, *edge) }],
        // Further than a condition can jump.
        Err(_) => vec![sock_filter { jf: 1, ..one(JUMP_IF_AT_LEAST, *edge) }, one(JUMP, distance(below.len()))],
    };
    all.extend(below);
    all.extend(above);
    all
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The answer for a number, as the kernel finds it; `None` where it goes on.
    fn answer(program: &[sock_filter], number: u32) -> Option<u32> {
        let mut at = 4;
        while let Some(instruction) = program.get(at) {
            at += 1 + match instruction.code {
                RETURN => return Some(instruction.k),
                JUMP => instruction.k as usize,
                JUMP_IF_AT_LEAST => usize::from(if number >= instruction.k { instruction.jt } else { instruction.jf }),
                code => panic!("{code:#x}"),
            };
        }
        assert_eq!(at, program.len());
        None
    }

    proptest! {
        #[test]
        fn a_number_is_found_if_and_only_if_it_is_named(numbers in proptest::collection::btree_set(0..500_i64, 0..400)) {
            let program = by_number(numbers.iter().copied(), Then::GoOn, Then::Return(7)).unwrap();
            for number in (0..600).chain([0x3fff_ffff, 0x4000_0000, 0x4000_0001, u32::MAX]) {
                prop_assert_eq!(answer(&program, number).is_none(), numbers.contains(&i64::from(number)), "{}", number);
            }
        }
    }

    #[test]
    fn no_call_has_a_number_below_nothing() {
        assert!(by_number([-1], Then::GoOn, Then::GoOn).is_err());
    }
}
