//! Every bound of `limits.rs` is reached by a test that reads its counter.
use keygate_broker::limits::Reached;

use crate::source::sources;

/// Nothing but tests and `limits.rs` itself reads a counter by its name.
fn is_read(text: &str, bound: &str) -> bool {
    let packed: String = text.split_whitespace().collect();
    packed.contains(&format!(".{bound}.get()"))
}

#[test]
fn every_bound_has_a_test_that_reads_its_counter() {
    let broker: Vec<_> = sources()
        .into_iter()
        .filter(|file| file.is_below("broker/src"))
        .collect();
    let reached = Reached::default();
    let untested: Vec<&str> = reached
        .each()
        .map(|(bound, _)| bound)
        .filter(|bound| !broker.iter().any(|file| is_read(&file.text, bound)))
        .collect();
    assert_eq!(untested, [""; 0], "no test reads `reached.NAME.get()`");
}

#[test]
fn a_bound_that_is_only_named_counts_as_untested() {
    assert!(is_read("reached\n    .inbox\n    .get()", "inbox"));
    assert!(!is_read("limits.inbox = 3; reached.inbox.add()", "inbox"));
}
