//! The text format of Prometheus, version 0.0.4: a family's help and type, then its samples, one a line.

use std::fmt::{Display, Write as _};

/// What a figure may do.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// Only grows while the process lives.
    Counter,
    /// Goes up and down.
    Gauge,
}

/// Text in the making.
#[derive(Debug, Default)]
pub(super) struct Text(String);

impl Text {
    /// Writes a family; one without samples is left out.
    pub(super) fn family<const LABELS: usize, V: Display>(
        &mut self,
        name: &str,
        kind: Kind,
        help: &str,
        samples: impl IntoIterator<Item = ([(&'static str, String); LABELS], V)>,
    ) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        let mut is_first = true;
        for (labels, value) in samples {
            if std::mem::take(&mut is_first) {
                let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
            }
            self.0.push_str(name);
            for (index, (label, text)) in labels.iter().enumerate() {
                let before = if index == 0 { '{' } else { ',' };
                let _ = write!(self.0, "{before}{label}=\"{}\"", escaped(text));
            }
            let after = if LABELS == 0 { "" } else { "}" };
            let _ = writeln!(self.0, "{after} {value}");
        }
    }

    pub(super) fn finish(self) -> String {
        self.0
    }
}

/// A label's value between quotes.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_with_quotes_backslashes_and_line_ends_stays_one_line() {
        let mut text = Text::default();
        text.family("x", Kind::Counter, "help", [([("a", "q\"b\\\nz".to_owned()), ("b", String::new())], 1.5)]);
        assert_eq!(text.finish(), "# HELP x help\n# TYPE x counter\nx{a=\"q\\\"b\\\\\\nz\",b=\"\"} 1.5\n");
    }

    #[test]
    fn a_family_without_samples_is_left_out() {
        let mut text = Text::default();
        text.family::<0, u64>("x", Kind::Gauge, "help", []);
        assert_eq!(text.finish(), "");
    }
}
