//! What another host says, from a host that has the secret: a document that is understood is understood without loss,
//! and its table can be taken over, in either order, and only once.
#![no_main]

use ferrolb::standalone::HostDocument;
use ferrolb_rules::table::Table;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(document) = HostDocument::parse(bytes) else { return };
    let again = HostDocument::parse(&document.emit()).expect("what we write can be read");
    assert_eq!(again, document);
    let mut learned = Table::default();
    learned.merge(&document.table);
    let once = learned.clone();
    assert!(!learned.merge(&document.table), "the same table is new a second time");
    assert_eq!(learned, once);
    for (service, entry) in learned.entries() {
        assert!(!entry.addresses.is_empty(), "{service} has no address");
    }
});
