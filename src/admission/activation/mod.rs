//! What makes a webhook active: the fields of its configuration that velero-trust sets, and when.

mod fields;

pub use fields::{OtherCas, UnknownPath, fields};

/// The oldest Kubernetes version in which `matchConditions` are stable. Older API servers silently drop
/// them, and would send Velero's own status writes to the webhooks.
pub const OLDEST_KUBERNETES: (u32, u32) = (1, 30);
