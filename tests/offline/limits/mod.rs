//! What a caller may cost: the real binary below the memory limit of the Deployment lives through
//! reviews that are made to exhaust it, and answers good ones beside them.

mod bodies;
mod server;
