//! What the process gives up before it touches a secret: core images, being traced by others of its own
//! user, and files that anybody else can read.

use rustix::{
    fs::Mode,
    process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit, umask},
};

/// Files are made for their owner alone.
const UMASK: u32 = 0o077;
/// File descriptors for all the connections that may be open, and what else there is.
const DESCRIPTORS_WANTED: u64 = 16_384;

/// Gives it up. What a sandbox does not allow has been given up already.
pub(super) fn process() {
    umask(Mode::from_bits_truncate(UMASK));
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    more_descriptors();
}

/// Shells hand out a thousand descriptors and allow more; every connection needs one.
fn more_descriptors() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = maximum.map_or(DESCRIPTORS_WANTED, |most| most.min(DESCRIPTORS_WANTED));
    if current.is_some_and(|current| current < wanted) {
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum });
    }
}
