//! The secret that all speakers share: in a file that the kubelet mounts, and until that is there in the Secret itself.
//!
//! The controller makes the Secret, and our pods do not wait for it: a kubelet that finds none looks again after half a
//! second, one, two, four, and so on, which on a fresh cluster was the longest part of a first start (decision 87).

use std::pin::Pin;

pub(super) use crate::drive::key::{KeyFile, changed, file, read};

/// Asking the API server: it answers once there is a Secret.
pub(super) type Asked = Pin<Box<dyn Future<Output = Vec<u8>> + Send>>;

/// What the API server has told; never where nobody asks.
pub(super) async fn told(asked: Option<&mut Option<Asked>>) -> Vec<u8> {
    let Some(asked) = asked else { return std::future::pending().await };
    let Some(answer) = asked else { return std::future::pending().await };
    let secret = answer.await;
    *asked = None;
    secret
}
