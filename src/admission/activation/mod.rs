//! What makes a webhook active: the fields of its configuration that velero-trust sets, and when.

pub mod canary;
mod decide;
mod fields;
mod held;
mod owner;

pub use canary::{Canary, Heard, Outcome};
pub use decide::{Cas, Configuration, Facts, Plan, Stopped, plan, trusted_everywhere};
pub use fields::{OtherCas, UnknownPath, fields};
pub use held::Held;

/// The oldest Kubernetes version in which `matchConditions` are stable. Older API servers silently drop
/// them, and would send Velero's own status writes to the webhooks.
pub const OLDEST_KUBERNETES: (u32, u32) = (1, 30);
