//! BGP messages from a router: whatever comes is cut into the same messages however it is split, what is understood is
//! understood without loss, and an UPDATE resets the session only where its lengths or prefixes cannot be read.
//!
//! The first byte says what the session has agreed on, the second where the stream is split; the rest is the stream.
#![no_main]

use ferrolb_proto::bgp::wire::notification::Notification;
use ferrolb_proto::bgp::wire::open::Open;
use ferrolb_proto::bgp::wire::skim::Terms;
use ferrolb_proto::bgp::wire::{
    EXTENDED_MAX_LEN, HEADER_LEN, Inbox, MAX_LEN, MessageType, Verdict, parse_refresh, put_refresh, skim,
};
use ferrolb_proto::bgp::{Families, Kind};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let [agreed, split, stream @ ..] = bytes else { return };
    let max = if agreed & 1 == 0 { MAX_LEN } else { EXTENDED_MAX_LEN };
    let (first, second) = stream.split_at(usize::from(*split).min(stream.len()));
    let whole = messages(&[stream], max);
    assert_eq!(whole, messages(&[first, second], max));
    for (message, body) in &whole.0 {
        check(*message, body, *agreed);
    }
    // Most inputs are no messages at all; they are tried as what would stand in one.
    for message in [MessageType::Open, MessageType::Update, MessageType::RouteRefresh, MessageType::Notification] {
        check(message, stream, *agreed);
    }
});

type Messages = (Vec<(MessageType, Vec<u8>)>, Option<Notification>);

fn messages(chunks: &[&[u8]], max: usize) -> Messages {
    let (mut inbox, mut found) = (Inbox::default(), Vec::new());
    for chunk in chunks {
        let mut chunk = *chunk;
        loop {
            match inbox.next(&mut chunk, max) {
                Ok(Some(message)) => found.push((message, inbox.body().to_vec())),
                Ok(None) => break,
                Err(owed) => return (found, Some(owed)),
            }
            assert!(inbox.len() <= max);
        }
        assert!(chunk.is_empty());
    }
    (found, None)
}

fn check(message: MessageType, body: &[u8], agreed: u8) {
    match message {
        MessageType::Open => check_open(body),
        MessageType::Update => check_update(body, agreed),
        MessageType::Notification => {
            let notification = Notification::parse(body);
            assert_eq!(Notification::parse(&notification.emit()[HEADER_LEN..]), notification);
            assert!(!notification.to_string().contains(char::is_control));
        }
        MessageType::RouteRefresh => {
            if let Ok(Some((family, what))) = parse_refresh(body, agreed & 2 != 0) {
                let mut bytes = Vec::new();
                put_refresh(&mut bytes, family, what);
                assert_eq!(&bytes[HEADER_LEN..], body);
            }
        }
        MessageType::Keepalive => assert!(body.is_empty()),
    }
}

fn check_open(body: &[u8]) {
    let Ok(mut open) = Open::parse(body) else { return };
    assert!(open.asn.0 != 0 && !matches!(open.hold_time, 1 | 2) && !open.router_id.is_unspecified());
    // Families that we do not speak cannot be written again.
    open.capabilities.families = open.capabilities.families.filter(|families| *families != Families::NONE);
    assert_eq!(Open::parse(&open.emit()[HEADER_LEN..]), Ok(open));
}

fn check_update(body: &[u8], agreed: u8) {
    let kind = if agreed & 4 == 0 { Kind::External } else { Kind::Internal };
    let families = Families { v4: agreed & 8 == 0, v6: agreed & 16 == 0 };
    let skimmed = skim(body, &Terms { kind, four_octet: agreed & 32 == 0, families });
    let counted: u32 = skimmed.announced.iter().chain(&skimmed.withdrawn).sum();
    assert!(counted as usize <= body.len(), "more prefixes than bytes");
    if let Some(family) = skimmed.end_of_rib {
        assert!(counted == 0 && (body.len() == 4 || families.contains(family)));
    }
    if let Verdict::Reset(owed) = skimmed.verdict {
        assert!(matches!((owed.code, owed.subcode), (3, 1 | 9 | 10)), "{owed}");
    }
}
