//! A configuration that changed: parsed, held against the one in force, and taken over, at once or a moment later.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ferrolb_rules::config::{self, Config};
use ferrolb_rules::service::HeldUp;

use super::Leader;
use crate::controller::due::not_later;
use crate::controller::pools;

/// How long a configuration waits that takes the pool away from an address: what comes next may have it. One
/// `kubectl apply` that moves a range from one pool to another is two changes, a moment apart.
const MOVE_INTERVAL: Duration = Duration::from_secs(3);

impl Leader {
    /// Whether a configuration has to wait for what may come with it.
    fn waits(&mut self, config: &Config, now: Instant) -> bool {
        if !self.book.would_evict(config) {
            self.evict_at = None;
            return false;
        }
        let at = *self.evict_at.get_or_insert(now + MOVE_INTERVAL);
        if at <= now {
            self.evict_at = None;
            return false;
        }
        not_later(&mut self.configure_at, at);
        true
    }

    pub(super) fn configure(&mut self, now: Instant) {
        self.around.metrics.updated();
        let resources = self.around.configuration.resources();
        let outcome = match config::parse(&resources) {
            Ok(config) => {
                self.book.hold_up(None);
                if self.book.config().is_none_or(|old| **old != config) && !self.waits(&config, now) {
                    tracing::info!(
                        op = "configure",
                        event = "configLoaded",
                        pools = config.pools.len(),
                        "configuration loaded"
                    );
                    self.book.configure(Arc::new(config));
                }
                Ok(())
            }
            Err(invalid) => {
                let pools = resources.pools.iter().filter_map(|pool| pool.metadata.name.clone());
                self.book.hold_up(HeldUp::new(&invalid, pools.collect()));
                Err(invalid)
            }
        };
        self.waiting = pools::waiting(&resources.pools, &self.book);
        self.around.metrics.set_config(self.book.config().is_some(), outcome.is_err());
        if let Err(invalid) = &outcome
            && self.outcome.as_ref() != Some(&outcome)
        {
            self.around.metrics.update_failed();
            let kept = match self.book.config() {
                Some(_) => "the last good one stays in force",
                None => "there is no earlier one, so nothing is handed out",
            };
            for finding in &invalid.0 {
                tracing::error!(op = "configure", code = %finding.code, error = %finding, "failed to parse the configuration; {kept}");
            }
        }
        self.outcome = Some(outcome);
    }
}
