//! Bytes that mean no good, and bytes that were good once.

use std::fs;
use std::thread;
use std::time::Duration;

use ferrolb_rules::reason::{Code, Severity};
use proptest::prelude::*;

use super::super::Parsed;
use super::super::document::{Namespaces, STACK, parse_here};
use super::{POOL, SERVICE, codes, parse, read};

fn sample() -> Vec<u8> {
    format!("# sample\n{POOL}---\n{SERVICE}---\napiVersion: v1\nkind: List\nitems: [{{}}]\n").into_bytes()
}

fn says_something(parsed: &Parsed) -> bool {
    !parsed.objects.is_empty() || !parsed.findings.is_empty()
}

#[test]
fn a_manifest_cut_off_anywhere_gives_objects_or_a_finding() {
    let sample = sample();
    for length in 0..sample.len() {
        let cut = &sample[..length];
        let parsed = parse("f", cut, "metallb-system");
        let nothing_there = cut.iter().all(|byte| b"\n -".contains(byte)) || cut.starts_with(b"#") && length <= 9;
        assert!(says_something(&parsed) || nothing_there, "{}", String::from_utf8_lossy(cut));
    }
}

#[test]
fn alias_bombs_and_deep_nesting_end_quickly_with_a_finding() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let before = vec![format!("*a{}", level - 1); 9].join(", ");
        bomb.push_str(&format!("a{level}: &a{level} [{before}]\n"));
    }
    let cases = [
        bomb,
        "[".repeat(100_000),
        "{a: ".repeat(100_000),
        "- ".repeat(100_000),
        "? ".repeat(100_000),
        (0..5_000).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect(),
        "a: &a [*a]".to_owned(),
        "x: [".to_owned() + &"1,".repeat(2_000_000) + "]",
    ];
    for text in cases {
        let (parsed, cpu) = read_and_count(&text);
        let begin = &text[..40.min(text.len())];
        assert_eq!(codes(&parsed.findings), [(Code::ManifestInvalid, Severity::Error)], "{begin}");
        assert!(cpu < Duration::from_secs(60), "{begin}: {cpu:?}");
    }
}

/// What the text says, and the time that reading it had on a CPU: on a busy machine the clock on the wall says nothing.
fn read_and_count(text: &str) -> (Parsed, Duration) {
    // Fields 14 and 15 of proc_pid_stat(5), in hundredths of a second; the second field ends with the last bracket.
    let cpu = || {
        let stat = fs::read_to_string("/proc/thread-self/stat").unwrap();
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        let ticks = [fields[11], fields[12]].map(|field| field.parse::<u64>().unwrap());
        Duration::from_millis(10 * (ticks[0] + ticks[1]))
    };
    thread::scope(|scope| {
        let thread = thread::Builder::new().stack_size(STACK);
        let reading = thread.spawn_scoped(scope, || {
            let before = cpu();
            let parsed = parse_here("file.yaml", text.as_bytes(), Namespaces::plain("metallb-system"));
            (parsed, cpu() - before)
        });
        reading.unwrap().join().unwrap()
    })
}

#[test]
fn very_many_findings_are_counted_and_an_error_among_them_is_kept() {
    let strangers = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\n---\n".repeat(300);
    let parsed = read(&strangers);
    assert_eq!(parsed.findings.len(), 201);
    assert!(parsed.findings[200].message.starts_with("100 more"), "{}", parsed.findings[200]);
    assert!(parsed.is_good());
    assert!(!read(&format!("{strangers}foo: bar\n")).is_good());
}

#[test]
fn a_finding_is_one_line_of_few_printable_words_whatever_the_file_says() {
    let long = "x".repeat(100_000);
    for text in [
        "apiVersion: v1\nkind: Pod\nmetadata: {name: \"a\\nb\\e[31m\\u202e\"}\n".to_owned(),
        "apiVersion: v1\nkind: \"Po\\nd\"\nmetadata: {name: a, namespace: \"b\\rc\"}\n".to_owned(),
        format!("{SERVICE}  \"x\\ty\": 1\n"),
        SERVICE.replace("{name: web}", "{name: web, labels: {\"a\\nb\": 5}}"),
        POOL.replace("pool", &long),
        POOL.replace("name: pool", &format!("name: pool, {long}: 1")),
        POOL.replace("[192.168.1.240/28]", &long),
        format!("apiVersion: v1\nkind: {long}\n"),
        format!("a: &{long} [*b]\n"),
        format!("{long}: 1\n{long}: 2\n"),
    ] {
        let parsed = read(&text);
        assert!(!parsed.findings.is_empty(), "{}", &text[..100.min(text.len())]);
        for line in parsed.findings.iter().map(ToString::to_string) {
            assert!(!line.contains(|c: char| c.is_control() || c == '\u{202e}'), "{line:?}");
            assert!(line.chars().count() < 1700, "{line}");
        }
    }
}

#[test]
fn a_finding_about_a_secret_does_not_tell_it() {
    for data in ["data: {pin: 271828}", "stringData: {pin: 271828}", "data: {pin: [271828]}", "data: {pin: \"271828\"}"]
    {
        let parsed = read(&format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: s}}\n{data}\n"));
        assert_eq!(codes(&parsed.findings), [(Code::ManifestInvalid, Severity::Error)], "{data}");
        assert!(!parsed.findings[0].to_string().contains("271828"), "{}", parsed.findings[0]);
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        parse("f", &bytes, "metallb-system");
    }

    #[test]
    fn arbitrary_yaml_like_text_never_panics(text in "[-a:{}\\[\\], \n#&*|>'\"!%@`?~<0-9]{0,200}") {
        parse("f", text.as_bytes(), "metallb-system");
    }

    #[test]
    fn arbitrary_values_in_an_object_never_panic(value in "[-a-z:{}\\[\\], \n0-9\"]{0,60}", at in 0..4_usize) {
        let field = ["192.168.1.240/28", "pool", "{name: web}", "80"][at];
        let text = format!("{POOL}---\n{SERVICE}").replacen(field, &value, 1);
        parse("f", text.as_bytes(), "metallb-system");
    }

    #[test]
    fn flipped_bytes_give_objects_or_a_finding(
        flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
    ) {
        let mut bytes = sample();
        for (at, byte) in flips {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        prop_assert!(says_something(&parse("f", &bytes, "metallb-system")));
    }
}
