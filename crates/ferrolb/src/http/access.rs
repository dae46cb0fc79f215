//! Who may see the metrics: the API server is asked who a bearer token belongs to (TokenReview) and whether that user
//! may do this to this path (SubjectAccessReview for a non-resource URL), spec §8.1.
//!
//! Answers are kept for a while, so that a scrape every few seconds costs nothing. While the API server does not answer
//! a review fails; what is still known goes on being good until its time is over.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, Method};
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo};
use k8s_openapi::api::authorization::v1::{NonResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::time::{Instant, timeout};

/// How long it is remembered whose a token is.
const TOKEN_KEPT: Duration = Duration::from_secs(60);
/// How long a permission is remembered.
const ALLOWED_KEPT: Duration = Duration::from_secs(300);
/// How long a refusal is remembered.
const DENIED_KEPT: Duration = Duration::from_secs(30);
/// How long the API server may take for one review.
const REVIEW_TIMEOUT: Duration = Duration::from_secs(10);
/// Answers remembered at most, per kind: many times the number of those who scrape.
const REMEMBERED: usize = 256;
/// Longer than any token of Kubernetes.
const LONGEST_TOKEN: usize = 16 * 1024;

/// What is known about a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// It may.
    Allowed,
    /// Nobody knows whose it is.
    Anonymous,
    /// This user may not.
    Denied {
        /// The user.
        user: String,
    },
    /// The API server did not say.
    Unknown(String),
}

/// Asks, and remembers the answers.
pub(super) struct Reviewer {
    client: Client,
    users: Mutex<Memory<Option<UserInfo>>>,
    permissions: Mutex<Memory<bool>>,
}

impl Reviewer {
    pub(super) fn new(client: Client) -> Self {
        Self { client, users: Mutex::default(), permissions: Mutex::default() }
    }

    /// Whether a request with these headers may do this to this path.
    pub(super) async fn check(&self, headers: &HeaderMap, method: &Method, path: &str) -> Access {
        let Some(token) = bearer_token(headers) else { return Access::Anonymous };
        let user = match self.user(token).await {
            Ok(Some(user)) => user,
            Ok(None) => return Access::Anonymous,
            Err(error) => return Access::Unknown(error),
        };
        let name = user.username.clone().unwrap_or_default();
        match self.may(user, method, path).await {
            Ok(true) => Access::Allowed,
            Ok(false) => Access::Denied { user: name },
            Err(error) => Access::Unknown(error),
        }
    }

    async fn user(&self, token: &str) -> Result<Option<UserInfo>, String> {
        if let Some(known) = locked(&self.users).get(token, Instant::now()) {
            return Ok(known);
        }
        let spec = TokenReviewSpec { token: Some(token.to_owned()), ..TokenReviewSpec::default() };
        let review = TokenReview { spec, ..TokenReview::default() };
        let status = self.ask(review).await?.status.unwrap_or_default();
        let user = if status.authenticated == Some(true) { status.user } else { None };
        let now = Instant::now();
        locked(&self.users).put(token.to_owned(), user.clone(), now, now + TOKEN_KEPT);
        Ok(user)
    }

    async fn may(&self, user: UserInfo, method: &Method, path: &str) -> Result<bool, String> {
        let attributes =
            NonResourceAttributes { path: Some(path.to_owned()), verb: Some(method.as_str().to_ascii_lowercase()) };
        let spec = SubjectAccessReviewSpec {
            user: user.username,
            groups: user.groups,
            uid: user.uid,
            extra: user.extra,
            non_resource_attributes: Some(attributes),
            ..SubjectAccessReviewSpec::default()
        };
        // The question itself is the key: all that the answer depends on is in it.
        let question = serde_json::to_string(&spec).map_err(|error| error.to_string())?;
        if let Some(known) = locked(&self.permissions).get(&question, Instant::now()) {
            return Ok(known);
        }
        let review = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
        let status = self.ask(review).await?.status.unwrap_or_default();
        let allowed = status.allowed && status.denied != Some(true);
        let now = Instant::now();
        let kept = if allowed { ALLOWED_KEPT } else { DENIED_KEPT };
        locked(&self.permissions).put(question, allowed, now, now + kept);
        Ok(allowed)
    }

    async fn ask<K>(&self, review: K) -> Result<K, String>
    where
        K: kube::Resource<DynamicType = ()> + Clone + std::fmt::Debug + serde::Serialize + serde::de::DeserializeOwned,
    {
        let reviews: Api<K> = Api::all(self.client.clone());
        match timeout(REVIEW_TIMEOUT, reviews.create(&PostParams::default(), &review)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(kube::Error::Api(status))) => Err(format!("{}: {}", K::kind(&()), status.message)),
            Ok(Err(error)) => Err(format!("{}: {error}", K::kind(&()))),
            Err(_) => Err(format!("{}: no answer within {} s", K::kind(&()), REVIEW_TIMEOUT.as_secs())),
        }
    }
}

/// The token of `Authorization: Bearer …` (RFC 6750 §2.1; the word counts in any case).
fn bearer_token(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.trim().split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() && token.len() <= LONGEST_TOKEN).then_some(token)
}

/// Answers, each with the time until which it is good.
struct Memory<V>(BTreeMap<String, (Instant, V)>);

impl<V> Default for Memory<V> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<V: Clone> Memory<V> {
    fn get(&self, question: &str, now: Instant) -> Option<V> {
        let (good_until_at, answer) = self.0.get(question)?;
        (now < *good_until_at).then(|| answer.clone())
    }

    /// Remembers. When there is no room what is over goes first, then everything: it can all be asked again.
    fn put(&mut self, question: String, answer: V, now: Instant, good_until_at: Instant) {
        if self.0.len() >= REMEMBERED {
            self.0.retain(|_, (good_until_at, _)| now < *good_until_at);
        }
        if self.0.len() >= REMEMBERED {
            self.0.clear();
        }
        self.0.insert(question, (good_until_at, answer));
    }
}

fn locked<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_bearer_token_counts() {
        for (value, expected) in [
            ("Bearer abc", Some("abc")),
            ("bearer  abc ", Some("abc")),
            ("Basic abc", None),
            ("Bearer ", None),
            ("abc", None),
        ] {
            let headers = HeaderMap::from_iter([(AUTHORIZATION, value.parse().unwrap())]);
            assert_eq!(bearer_token(&headers), expected, "{value:?}");
        }
        assert_eq!(bearer_token(&HeaderMap::new()), None);
    }

    #[test]
    fn an_answer_is_good_until_its_time_is_over() {
        let mut memory = Memory::default();
        let now = Instant::now();
        memory.put("q".into(), true, now, now + DENIED_KEPT);
        assert_eq!(memory.get("q", now), Some(true));
        assert_eq!(memory.get("q", now + DENIED_KEPT), None);
        assert_eq!(memory.get("other", now), None);
    }

    #[test]
    fn memory_is_bounded() {
        let mut memory = Memory::default();
        let now = Instant::now();
        for number in 0..REMEMBERED * 3 {
            memory.put(number.to_string(), (), now, now + TOKEN_KEPT);
            assert!(memory.0.len() <= REMEMBERED);
        }
        assert_eq!(memory.get(&(REMEMBERED * 3 - 1).to_string(), now), Some(()));
    }
}
