//! A filter for the kernel: wake us only for requests for addresses that we have (classic BPF, bpf(4), Linux
//! `Documentation/networking/filter.rst`).
//!
//! Addresses next to each other are one range; ranges are searched as a binary tree, so that a foreign request costs
//! the kernel a handful of instructions and us nothing. A program is bounded: where there are too many ranges, those
//! with the smallest gaps between them are taken as one, and the few requests that fall into the gaps are dropped when
//! they are looked up here. Neighbour solicitations are filtered by the low 32 bits of their target in the same way.

use std::collections::BTreeSet;

/// Ranges in a program at most: about 800 instructions, which every kernel's `net.core.optmem_max` has room for.
pub const RANGES: usize = 128;

/// One instruction: `struct sock_filter`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// Operation.
    pub code: u16,
    /// Instructions to skip if the test holds.
    pub jt: u8,
    /// Instructions to skip if it does not.
    pub jf: u8,
    /// Operand.
    pub k: u32,
}

const LOAD_WORD: u16 = 0x20;
const LOAD_HALF: u16 = 0x28;
const LOAD_BYTE: u16 = 0x30;
const JUMP: u16 = 0x05;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_GREATER: u16 = 0x25;
const JUMP_AT_LEAST: u16 = 0x35;
const JUMP_ANY_BIT: u16 = 0x45;
const RETURN: u16 = 0x06;
/// Take the whole frame.
const ACCEPT: u32 = 0x0004_0000;

const fn plain(code: u16, k: u32) -> Instruction {
    Instruction { code, jt: 0, jf: 0, k }
}

const fn test(code: u16, k: u32, jt: u8, jf: u8) -> Instruction {
    Instruction { code, jt, jf, k }
}

/// Accepts ARP requests whose target address is one of these (as numbers), and nothing else.
pub fn arp_requests(targets: &BTreeSet<u32>) -> Vec<Instruction> {
    // Operation at 20, target protocol address at 38.
    let mut program = vec![plain(LOAD_HALF, 20), test(JUMP_EQUAL, 1, 1, 0), plain(RETURN, 0), plain(LOAD_WORD, 38)];
    program.extend(tree(&ranges(targets)));
    program
}

/// Accepts ARP packets of any operation whose sender says that it has one of these addresses, and probes of those who
/// want one of them (sender 0.0.0.0); nothing else.
pub fn arp_senders(addresses: &BTreeSet<u32>) -> Vec<Instruction> {
    // Sender protocol address at 28; where it is zero, target protocol address at 38 instead.
    let mut program = vec![plain(LOAD_WORD, 28), test(JUMP_EQUAL, 0, 0, 1), plain(LOAD_WORD, 38)];
    program.extend(tree(&ranges(addresses)));
    program
}

/// Accepts ARP replies, and nothing else.
pub fn arp_replies() -> Vec<Instruction> {
    vec![plain(LOAD_HALF, 20), test(JUMP_EQUAL, 2, 1, 0), plain(RETURN, 0), plain(RETURN, ACCEPT)]
}

/// Accepts whatever the socket is bound to.
pub fn everything() -> Vec<Instruction> {
    vec![plain(RETURN, ACCEPT)]
}

/// Accepts neighbour solicitations without extension headers whose target ends in one of these 32 bits, and nothing
/// else.
pub fn solicitations(targets: &BTreeSet<u32>) -> Vec<Instruction> {
    neighbours(135, targets)
}

/// The same for neighbour advertisements.
pub fn advertisements(targets: &BTreeSet<u32>) -> Vec<Instruction> {
    neighbours(136, targets)
}

/// Accepts neighbour advertisements for these targets, and solicitations for them from the unspecified address: those of
/// somebody who wants the address (RFC 4862 §5.4.3). Nothing else.
pub fn neighbour_claims(targets: &BTreeSet<u32>) -> Vec<Instruction> {
    let mut program = vec![plain(LOAD_BYTE, 20), test(JUMP_EQUAL, 58, 1, 0), plain(RETURN, 0), plain(LOAD_BYTE, 54)];
    // An advertisement goes on at the target: over the next test, and over four words of the source at 14 + 8.
    program.extend([test(JUMP_EQUAL, 136, 14, 0), test(JUMP_EQUAL, 135, 1, 0), plain(RETURN, 0)]);
    for at in [22, 26, 30, 34] {
        program.extend([plain(LOAD_WORD, at), test(JUMP_EQUAL, 0, 1, 0), plain(RETURN, 0)]);
    }
    program.push(plain(LOAD_WORD, 74));
    program.extend(tree(&ranges(targets)));
    program
}

/// Accepts ICMP echo requests to one of these addresses (as numbers), whole and without IP options, and nothing else.
pub fn echo_requests_v4(destinations: &BTreeSet<u32>) -> Vec<Instruction> {
    // Of all IPv4 the protocol, at 14 + 9, sorts out the most. Then version and header length; "more fragments" and the
    // fragment offset; the ICMP type behind 20 bytes; the destination.
    let mut program = vec![plain(LOAD_BYTE, 23), test(JUMP_EQUAL, 1, 1, 0), plain(RETURN, 0)];
    program.extend([plain(LOAD_BYTE, 14), test(JUMP_EQUAL, 0x45, 1, 0), plain(RETURN, 0)]);
    program.extend([plain(LOAD_HALF, 20), test(JUMP_ANY_BIT, 0x3fff, 0, 1), plain(RETURN, 0)]);
    program.extend([plain(LOAD_BYTE, 34), test(JUMP_EQUAL, 8, 1, 0), plain(RETURN, 0), plain(LOAD_WORD, 30)]);
    program.extend(tree(&ranges(destinations)));
    program
}

/// Accepts ICMPv6 echo requests without extension headers whose destination ends in one of these 32 bits, and nothing
/// else.
pub fn echo_requests_v6(destinations: &BTreeSet<u32>) -> Vec<Instruction> {
    // The last four bytes of the destination are at 14 + 24 + 12.
    let mut program = vec![plain(LOAD_BYTE, 20), test(JUMP_EQUAL, 58, 1, 0), plain(RETURN, 0)];
    program.extend([plain(LOAD_BYTE, 54), test(JUMP_EQUAL, 128, 1, 0), plain(RETURN, 0), plain(LOAD_WORD, 50)]);
    program.extend(tree(&ranges(destinations)));
    program
}

fn neighbours(kind: u32, targets: &BTreeSet<u32>) -> Vec<Instruction> {
    // Next header at 14 + 6, ICMPv6 type at 14 + 40, the last four bytes of the target at 14 + 40 + 8 + 12.
    let mut program = vec![
        plain(LOAD_BYTE, 20),
        test(JUMP_EQUAL, 58, 1, 0),
        plain(RETURN, 0),
        plain(LOAD_BYTE, 54),
        test(JUMP_EQUAL, kind, 1, 0),
        plain(RETURN, 0),
        plain(LOAD_WORD, 74),
    ];
    program.extend(tree(&ranges(targets)));
    program
}

/// Neighbours joined, and the smallest gaps closed until few enough are left.
fn ranges(targets: &BTreeSet<u32>) -> Vec<(u32, u32)> {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for target in targets {
        match ranges.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(*target) => *last = *target,
            _ => ranges.push((*target, *target)),
        }
    }
    let excess = ranges.len().saturating_sub(RANGES);
    if excess == 0 {
        return ranges;
    }
    let mut gaps: Vec<(u32, usize)> =
        ranges.windows(2).enumerate().map(|(index, pair)| (pair[1].0 - pair[0].1, index)).collect();
    gaps.sort_unstable();
    let closed: BTreeSet<usize> = gaps.into_iter().take(excess).map(|(_, index)| index).collect();
    let mut merged: Vec<(u32, u32)> = Vec::new();
    for (index, range) in ranges.into_iter().enumerate() {
        match merged.last_mut() {
            Some((_, last)) if index > 0 && closed.contains(&(index - 1)) => *last = range.1,
            _ => merged.push(range),
        }
    }
    merged
}

/// A binary tree over sorted ranges; the number looked for is in the accumulator.
fn tree(ranges: &[(u32, u32)]) -> Vec<Instruction> {
    match ranges {
        [] => vec![plain(RETURN, 0)],
        [(first, last)] => vec![
            test(JUMP_AT_LEAST, *first, 0, 2),
            test(JUMP_GREATER, *last, 1, 0),
            plain(RETURN, ACCEPT),
            plain(RETURN, 0),
        ],
        ranges => {
            let (low, high) = ranges.split_at(ranges.len() / 2);
            let (left, right) = (tree(low), tree(high));
            let over = u32::try_from(left.len()).unwrap_or_default();
            let mut program = vec![test(JUMP_AT_LEAST, high[0].0, 0, 1), plain(JUMP, over)];
            program.extend(left);
            program.extend(right);
            program
        }
    }
}

/// What the kernel does with a program and a frame: whether the frame passes, or `None` where the kernel would have
/// refused the program (longer than 4096, a way out of it, an instruction that is not used here). Nothing runs this in
/// production; it is what tests and fuzzing hold the programs against.
pub fn run(program: &[Instruction], frame: &[u8]) -> Option<bool> {
    let (mut at, mut accumulator) = (0usize, 0u32);
    if program.len() > 4096 {
        return None;
    }
    loop {
        let Instruction { code, jt, jf, k } = *program.get(at)?;
        let here = usize::try_from(k).ok()?;
        let load = |length: usize| {
            let bytes = frame.get(here..here.checked_add(length)?)?;
            Some(bytes.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte)))
        };
        let jump = |holds: bool| usize::from(if holds { jt } else { jf });
        // Every way leads forward, so the run ends.
        at += 1;
        match code {
            LOAD_BYTE | LOAD_HALF | LOAD_WORD => {
                let length = match code {
                    LOAD_BYTE => 1,
                    LOAD_HALF => 2,
                    _ => 4,
                };
                // A load beyond the end drops the frame.
                let Some(value) = load(length) else { return Some(false) };
                accumulator = value;
            }
            JUMP => at = at.checked_add(here)?,
            JUMP_EQUAL => at += jump(accumulator == k),
            JUMP_GREATER => at += jump(accumulator > k),
            JUMP_AT_LEAST => at += jump(accumulator >= k),
            JUMP_ANY_BIT => at += jump(accumulator & k != 0),
            RETURN => return Some(k != 0),
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Whether the frame passes; the program is one that the kernel takes.
    fn run(program: &[Instruction], frame: &[u8]) -> bool {
        super::run(program, frame).expect("the kernel refuses this program")
    }

    fn arp(operation: u16, target: u32) -> Vec<u8> {
        let mut frame = vec![0; 60];
        frame[20..22].copy_from_slice(&operation.to_be_bytes());
        frame[38..42].copy_from_slice(&target.to_be_bytes());
        frame
    }

    fn solicitation(next: u8, kind: u8, target: u32) -> Vec<u8> {
        let mut frame = vec![0; 86];
        frame[20] = next;
        frame[54] = kind;
        frame[74..78].copy_from_slice(&target.to_be_bytes());
        frame
    }

    #[test]
    fn only_requests_for_the_addresses_pass() {
        let program = arp_requests(&BTreeSet::from([10, 11, 12, 40]));
        for target in 0..60 {
            assert_eq!(run(&program, &arp(1, target)), matches!(target, 10..=12 | 40), "{target}");
        }
        assert!(!run(&program, &arp(2, 10)), "a reply");
        assert!(!run(&program, &[0; 30]), "too short");
        assert!(!run(&arp_requests(&BTreeSet::new()), &arp(1, 10)), "no address, no frame");
    }

    #[test]
    fn only_solicitations_for_the_addresses_pass() {
        let program = solicitations(&BTreeSet::from([7]));
        assert!(run(&program, &solicitation(58, 135, 7)));
        assert!(!run(&program, &solicitation(58, 136, 7)));
        assert!(!run(&program, &solicitation(17, 135, 7)));
        assert!(!run(&program, &solicitation(58, 135, 8)));
    }

    #[test]
    fn only_what_says_that_it_has_an_address_of_ours_passes() {
        let ours = BTreeSet::from([7]);
        let said = |operation, sender: u32| {
            let mut frame = arp(operation, 99);
            frame[28..32].copy_from_slice(&sender.to_be_bytes());
            frame
        };
        for operation in [1, 2] {
            assert!(run(&arp_senders(&ours), &said(operation, 7)));
            assert!(!run(&arp_senders(&ours), &said(operation, 8)));
        }
        assert!(run(&arp_senders(&ours), &arp(1, 7)), "a probe");
        assert!(!run(&arp_senders(&ours), &arp(1, 8)), "a probe for another one");
        let mut asks = said(1, 8);
        asks[38..42].copy_from_slice(&7u32.to_be_bytes());
        assert!(!run(&arp_senders(&ours), &asks), "it only asks");
        assert!(run(&advertisements(&ours), &solicitation(58, 136, 7)));
        assert!(!run(&advertisements(&ours), &solicitation(58, 135, 7)));
        assert!(!run(&advertisements(&ours), &solicitation(58, 136, 8)));
        let claims = neighbour_claims(&ours);
        assert!(run(&claims, &solicitation(58, 136, 7)) && run(&claims, &solicitation(58, 135, 7)), "a claim, a probe");
        assert!(!run(&claims, &solicitation(58, 136, 8)) && !run(&claims, &solicitation(58, 135, 8)));
        assert!(!run(&claims, &solicitation(17, 136, 7)) && !run(&claims, &solicitation(58, 134, 7)));
        for at in 22..38 {
            let mut asks = solicitation(58, 135, 7);
            asks[at] = 1;
            assert!(!run(&claims, &asks), "it only asks, and has an address: {at}");
            asks[54] = 136;
            assert!(run(&claims, &asks), "the source of an advertisement does not matter: {at}");
        }
    }

    #[test]
    fn ten_thousand_scattered_addresses_still_make_a_small_program() {
        let targets: BTreeSet<u32> = (0..10_000u32).map(|n| n.wrapping_mul(2_654_435_761)).collect();
        let program = arp_requests(&targets);
        assert!(program.len() < 1000, "{}", program.len());
        assert!(targets.iter().all(|target| run(&program, &arp(1, *target))));
    }

    proptest! {
        #[test]
        fn the_filter_lets_every_address_pass_and_few_enough_pass_exactly(
            targets in proptest::collection::btree_set(any::<u32>(), 0..RANGES),
            others in proptest::collection::vec(any::<u32>(), 20),
        ) {
            let program = arp_requests(&targets);
            for target in targets.iter().chain(&others) {
                for near in [target.wrapping_sub(1), *target, target.wrapping_add(1)] {
                    prop_assert_eq!(run(&program, &arp(1, near)), targets.contains(&near));
                }
            }
        }
    }
}
