//! CA trust: what a CA bundle is, where a BSL's CA comes from, and how it reaches a Pod.

pub mod inject;
pub mod rules;
