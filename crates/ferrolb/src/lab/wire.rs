//! What the laptop sees on its cable: every ARP frame with the time it came, read with a packet socket of its own and
//! independent of what any node says about itself.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::os::fd::AsFd as _;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use ferrolb_proto::arp::filter::Instruction;
use ferrolb_proto::arp::{self, Frame, Operation};
use ferrolb_proto::ethernet::MacAddr;
use nix::net::if_::if_nametoindex;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::network::{INTERFACE, LAPTOP, Network, address_of};
use crate::net::raw::PacketSocket;

/// How long to wait for answers to one question. Two hosts that both answer do so within a millisecond; a slow machine
/// gets time.
const ANSWER_WINDOW: Duration = Duration::from_millis(200);
/// Questions asked before "nobody answers" is believed.
const QUESTIONS: usize = 3;
/// Let every frame through: the socket is bound to ARP already.
const EVERYTHING: Instruction = Instruction { code: 0x06, jt: 0, jf: 0, k: 0x0004_0000 };

/// A frame, and when it came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) at: Instant,
    pub(super) frame: Frame,
}

/// A packet socket on the laptop's cable and the thread that reads it.
pub(super) struct Sniffer {
    frames: mpsc::Receiver<Seen>,
    questions: mpsc::Sender<[u8; arp::FRAME_LEN]>,
    own: (MacAddr, Ipv4Addr),
}

impl Sniffer {
    /// Starts to listen.
    pub(super) fn start(network: &Network) -> anyhow::Result<Self> {
        let own = (network.mac_of(LAPTOP)?, address_of(LAPTOP).context("the laptop has no address")?);
        let socket = network
            .machine(LAPTOP)?
            .run(|| {
                let index = if_nametoindex(INTERFACE)?;
                PacketSocket::open(index, arp::ETHERTYPE, &[EVERYTHING])
            })?
            .context("cannot listen on the laptop's cable")?;
        let (tell, frames) = mpsc::channel();
        let (questions, asked) = mpsc::channel::<[u8; arp::FRAME_LEN]>();
        thread::Builder::new().spawn(move || {
            let mut buffer = [0; 1514];
            loop {
                for question in asked.try_iter() {
                    let _ = socket.send(&question);
                }
                while let Ok(Some(length)) = socket.receive(&mut buffer) {
                    let at = Instant::now();
                    if let Ok(frame) = arp::parse(&buffer[..length])
                        && tell.send(Seen { at, frame }).is_err()
                    {
                        return;
                    }
                }
                let _ = poll(&mut [PollFd::new(socket.as_fd(), PollFlags::POLLIN)], PollTimeout::from(5u8));
            }
        })?;
        Ok(Self { frames, questions, own })
    }

    /// Asks "who has this address?" as a broadcast, and returns every MAC address that said "I".
    pub(super) fn who_has(&self, address: Ipv4Addr) -> BTreeSet<MacAddr> {
        let (own_mac, own_ip) = self.own;
        let question = Frame {
            destination: MacAddr::BROADCAST,
            source: own_mac,
            operation: Operation::Request,
            sender_mac: own_mac,
            sender_ip: own_ip,
            target_mac: MacAddr::ZERO,
            target_ip: address,
        };
        for _ in 0..QUESTIONS {
            self.forget();
            let _ = self.questions.send(question.emit());
            let end = Instant::now() + ANSWER_WINDOW;
            let mut answers = BTreeSet::new();
            while let Ok(seen) = self.frames.recv_timeout(end.saturating_duration_since(Instant::now())) {
                if seen.frame.operation == Operation::Reply && seen.frame.sender_ip == address {
                    answers.insert(seen.frame.sender_mac);
                }
            }
            if !answers.is_empty() {
                return answers;
            }
        }
        BTreeSet::new()
    }

    /// Drops what was seen so far.
    pub(super) fn forget(&self) {
        self.frames.try_iter().for_each(drop);
    }

    /// When this MAC address first told everybody, unasked, that it has this address; among what came since
    /// [`Self::forget`].
    pub(super) fn first_announcement(&self, address: Ipv4Addr, mac: MacAddr) -> Option<Instant> {
        let told = |seen: &Seen| {
            let frame = seen.frame;
            frame.destination == MacAddr::BROADCAST
                && (frame.sender_ip, frame.target_ip, frame.sender_mac) == (address, address, mac)
        };
        self.frames.try_iter().filter(told).map(|seen| seen.at).min()
    }
}
