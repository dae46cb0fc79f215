//! x
/// p
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// u
    Up,
    /// d
    Down,
    /// k
    Unknown,
}
