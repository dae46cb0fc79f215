//! What the lab found out, as it happens for people, and in the end as one object for programs. Pools, Services and
//! findings in it are those of `ferrolb status -o json`, the same types.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use ferrolb_rules::reason::Finding;
use serde::Serialize;

use crate::cli;
use crate::state::{PoolState, ServiceState, State};

/// Everything that was found out.
#[derive(Debug, Default, Serialize)]
pub(super) struct Outcome {
    /// Whether every check passed and the story came to its end.
    pub(super) ok: bool,
    steps: Vec<Step>,
    pools: Vec<PoolState>,
    services: Vec<ServiceState>,
    failover: Option<Failover>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    measures: Vec<Measure>,
    findings: Vec<Finding>,
}

#[derive(Debug, Serialize)]
struct Step {
    name: String,
    ok: bool,
    detail: String,
}

/// A node was unplugged: who announced before and after, and what the client saw of it.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Failover {
    /// The node that was unplugged.
    pub(super) from: String,
    /// The node that took over.
    pub(super) to: String,
    /// How long the laptop's requests were not answered, in milliseconds.
    pub(super) outage_ms: u64,
}

/// What a client saw of something that happened.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Measure {
    /// What happened; a check of the same name says whether it was as it should be.
    pub(super) name: &'static str,
    /// The client.
    pub(super) client: &'static str,
    /// Requests that it made, each on a connection of its own.
    pub(super) requests: usize,
    /// Those that were not answered.
    pub(super) failed: usize,
    /// From the first of these to the first answered one after the last of them, in milliseconds.
    pub(super) outage_ms: u64,
}

/// A check that failed and without which the story makes no sense. It is in the record already.
#[derive(Debug, thiserror::Error)]
#[error("a check failed")]
pub(super) struct CheckFailed;

/// Keeps the record and tells the reader.
pub(super) struct Recorder {
    start: Instant,
    quiet: bool,
    outcome: Outcome,
}

impl Recorder {
    /// Starts the clock. A quiet one prints nothing but the object in the end.
    pub(super) fn new(quiet: bool) -> Self {
        Self { start: Instant::now(), quiet, outcome: Outcome::default() }
    }

    /// Text for people.
    pub(super) fn tell(&self, text: &str) {
        if !self.quiet {
            // A reader that has gone away (a closed pipe) does not change what is found out.
            let _ = cli::print(&format!("{text}\n"));
        }
    }

    /// A heading.
    pub(super) fn chapter(&self, title: &str) {
        self.tell(&format!("\n{title}"));
    }

    /// Something that happened and is no check.
    pub(super) fn event(&self, text: &str) {
        self.tell(&self.line(' ', text));
    }

    /// A check: its stable name, whether it passed, what was measured.
    pub(super) fn check(&mut self, name: &str, ok: bool, detail: String) -> bool {
        self.tell(&self.line(if ok { '✓' } else { '✗' }, &detail));
        self.outcome.steps.push(Step { name: name.to_owned(), ok, detail });
        ok
    }

    /// A check that everything after it needs.
    ///
    /// # Errors
    /// [`CheckFailed`] if it did not pass.
    pub(super) fn require(&mut self, name: &str, ok: bool, detail: String) -> Result<(), CheckFailed> {
        if self.check(name, ok, detail) { Ok(()) } else { Err(CheckFailed) }
    }

    fn line(&self, mark: char, text: &str) -> String {
        let mut lines = text.lines();
        let first = lines.next().unwrap_or_default();
        let mut line = format!("{:5.1}s  {mark} {first}", self.start.elapsed().as_secs_f64());
        for more in lines {
            let _ = write!(line, "\n          {more}");
        }
        line
    }

    /// What the outage was.
    pub(super) fn failover(&mut self, from: &str, to: &str, outage: Duration) {
        let outage_ms = u64::try_from(outage.as_millis()).unwrap_or(u64::MAX);
        self.outcome.failover = Some(Failover { from: from.to_owned(), to: to.to_owned(), outage_ms });
    }

    /// What clients saw.
    pub(super) fn measures(&mut self, measures: &[Measure]) {
        self.outcome.measures.extend_from_slice(measures);
    }

    /// All that clients saw, for people.
    pub(super) fn table(&self) {
        self.tell("\n  what happened       client    requests   failed   outage");
        for Measure { name, client, requests, failed, outage_ms } in &self.outcome.measures {
            self.tell(&format!("  {name:<18}  {client:<8}  {requests:>8}  {failed:>7}  {outage_ms:>4} ms"));
        }
    }

    /// The pools and Services as they are now.
    pub(super) fn state(&mut self, state: &State) {
        self.outcome.pools.clone_from(&state.pools);
        self.outcome.services.clone_from(&state.services);
    }

    /// What in the manifests does nothing.
    pub(super) fn findings<'a>(&mut self, findings: impl Iterator<Item = &'a Finding>) {
        self.outcome.findings = findings.cloned().collect();
    }

    /// The verdict, after the story came to its end or not.
    pub(super) fn finish(mut self, ended_well: bool) -> Outcome {
        let passed = self.outcome.steps.iter().filter(|step| step.ok).count();
        let all = self.outcome.steps.len();
        self.outcome.ok = ended_well && passed == all && all > 0;
        self.tell(&format!("\n{all} checks, {passed} passed, {:.1} s", self.start.elapsed().as_secs_f64()));
        self.outcome
    }
}

#[cfg(test)]
mod tests {
    use ferrolb_rules::reason::{Code, Location, Severity};

    use super::*;
    use crate::state::Progress;

    #[test]
    fn what_is_found_is_said_as_status_says_it() {
        let location = Location { file: "web.yaml".to_owned(), line: 7, column: 5 };
        let finding = Finding::new(Code::UnknownAnnotation, Severity::Warning, "Service/default/web", "does nothing");
        let finding = finding.at_field("metadata.annotations").at(location);
        let service = ServiceState { name: "web".to_owned(), state: Progress::Announced, ..ServiceState::default() };
        let state = State { services: vec![service], findings: vec![finding], ..State::default() };
        let mut recorder = Recorder::new(true);
        recorder.state(&state);
        recorder.findings(state.findings.iter());
        let (lab, status) =
            (serde_json::to_value(recorder.finish(true)).unwrap(), serde_json::to_value(&state).unwrap());
        assert_eq!((&lab["services"], &lab["findings"]), (&status["services"], &status["findings"]));
        assert_eq!(lab["services"][0]["state"], "announced");
        let finding = &lab["findings"][0];
        assert_eq!((&finding["severity"], &finding["location"]["line"]), (&"warning".into(), &7.into()));
    }

    #[test]
    fn one_failed_check_is_enough() {
        let mut recorder = Recorder::new(true);
        assert!(recorder.check("a", true, "fine".to_owned()));
        assert!(!recorder.check("b", false, "not fine".to_owned()));
        assert!(!recorder.finish(true).ok);
    }

    #[test]
    fn a_story_without_an_end_or_without_a_check_is_not_fine() {
        let mut recorder = Recorder::new(true);
        recorder.check("a", true, "fine".to_owned());
        assert!(!recorder.finish(false).ok);
        assert!(!Recorder::new(true).finish(true).ok);
    }

    #[test]
    fn the_object_has_the_promised_names() {
        let mut recorder = Recorder::new(true);
        recorder.check("network", true, "up".to_owned());
        recorder.failover("node-b", "node-c", Duration::from_millis(1234));
        let object = serde_json::to_value(recorder.finish(true)).unwrap();
        let expected = serde_json::json!({
            "ok": true,
            "steps": [{"name": "network", "ok": true, "detail": "up"}],
            "pools": [], "services": [], "findings": [],
            "failover": {"from": "node-b", "to": "node-c", "outage_ms": 1234},
        });
        assert_eq!(object, expected);
    }
}
