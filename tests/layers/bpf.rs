//! The kernel's evaluation of system call filters, for looking at every answer without making a single call.

use seccompiler::sock_filter;

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Allow,
    Errno(i32),
    Kill,
}

/// A call as a filter sees it: `struct seccomp_data`.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    pub arch: u32,
    pub number: u32,
    pub arguments: [u64; 6],
}

impl Call {
    fn bytes(&self) -> [u8; 64] {
        let mut bytes = [0; 64];
        bytes[0..4].copy_from_slice(&self.number.to_ne_bytes());
        bytes[4..8].copy_from_slice(&self.arch.to_ne_bytes());
        for (index, argument) in self.arguments.iter().enumerate() {
            bytes[16 + 8 * index..24 + 8 * index].copy_from_slice(&argument.to_ne_bytes());
        }
        bytes
    }
}

/// The answer of all programs together, given in the order in which they were installed: the one that takes most away, and among those
/// with the same action the newest program's (seccomp(2)).
pub fn verdict(programs: &[&Vec<sock_filter>], call: &Call) -> Verdict {
    let action = |value: u32| (value & 0xffff_0000).cast_signed();
    let mut result: u32 = 0x7fff_0000;
    for program in programs.iter().rev() {
        let value = run(program, call);
        if action(value) < action(result) {
            result = value;
        }
    }
    match result & 0xffff_0000 {
        0x7fff_0000 => Verdict::Allow,
        0x0005_0000 => Verdict::Errno(i32::try_from(result & 0xffff).unwrap()),
        0x8000_0000 | 0 => Verdict::Kill,
        other => panic!("an action that no filter of ours has: {other:#x}"),
    }
}

/// One program: classic BPF, as far as seccompiler uses it. Anything else is an error of this test.
fn run(program: &[sock_filter], call: &Call) -> u32 {
    let data = call.bytes();
    let (mut accumulator, mut at) = (0_u32, 0_usize);
    loop {
        let instruction = &program[at];
        let k = instruction.k;
        at += 1;
        let taken = match instruction.code {
            0x20 => {
                let start = usize::try_from(k).unwrap();
                assert!(k.is_multiple_of(4) && start + 4 <= data.len(), "a load from {start}");
                accumulator = u32::from_ne_bytes(data[start..start + 4].try_into().unwrap());
                continue;
            }
            0x54 => {
                accumulator &= k;
                continue;
            }
            0x05 => {
                at += usize::try_from(k).unwrap();
                continue;
            }
            0x06 => return k,
            0x15 => accumulator == k,
            0x25 => accumulator > k,
            0x35 => accumulator >= k,
            0x45 => accumulator & k != 0,
            code => panic!("instruction {code:#x} is not known here"),
        };
        at += usize::from(if taken { instruction.jt } else { instruction.jf });
    }
}
