//! CA trust: certificates and CA bundles, the CA references of BSLs, and the rules for BSLs.

pub mod base64;
pub mod bundle;
pub mod bundle_issue;
pub mod certificate;
pub mod common_roots;
pub mod endpoint;
pub mod evaluation;
pub mod evaluation_budget;
pub mod hold;
pub mod merged_bundle;
pub mod pem;
pub mod references;
pub mod rules;
pub mod serving_certificate;
pub mod x509;

pub use x509::Defect;
