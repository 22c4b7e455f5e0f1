//! The table of docs/limits.md says the values that the code has.

use std::fs;

/// Where the code has the value of a bound: the file, and texts that follow each other in it. The value
/// stands behind the last one.
type Place = (&'static str, &'static [&'static str]);

/// The bounds of the table in its order, with the places of the numbers in their column `value`. Those without
/// a place have no number, or one that only tests hold.
#[rustfmt::skip]
const BOUNDS: &[(&str, &[Place])] = &[
    ("connections to the webhook's port", &[
        ("src/serving/settings.rs", &["impl Default for Caps", " connections: "]),
    ]),
    ("of them, protected for each source address", &[
        ("src/serving/settings.rs", &["impl Default for Caps", " protected_connections: "]),
    ]),
    ("connections to the port of health and metrics", &[
        ("src/serving/settings.rs", &["impl Default for Caps", " ops_connections: "]),
    ]),
    ("of them, protected for each source address", &[
        ("src/serving/ops.rs", &["const PROTECTED_CONNECTIONS: ", "= "]),
    ]),
    ("connection to the port of health and metrics", &[
        ("src/serving/ops.rs", &["const CONNECTION_LIFE: ", "= "]),
    ]),
    ("descriptors", &[]),
    ("TLS handshake", &[
        ("src/serving/settings.rs", &["impl Default for Timeouts", " handshake: "]),
    ]),
    ("first request of a connection", &[
        ("src/serving/settings.rs", &["impl Default for Timeouts", " first_request: "]),
    ]),
    ("idle connection", &[
        ("src/serving/settings.rs", &["impl Default for Timeouts", " idle: "]),
    ]),
    ("age of a connection", &[
        ("src/serving/settings.rs", &["impl Default for Timeouts", " age: "]),
    ]),
    ("requests on one connection", &[
        ("src/serving/settings.rs", &["impl Default for Caps", " requests: "]),
    ]),
    ("age of a connection, whatever it does", &[
        ("src/serving/settings.rs", &["impl Default for Timeouts", " hard_age: "]),
    ]),
    ("head of a request", &[
        ("src/serving/connection.rs", &["const MAX_BUFFER_BYTES: ", "= "]),
    ]),
    ("review of a Pod", &[
        ("src/admission/pods.rs", &["max_body_bytes: "]),
    ]),
    ("review of a Backup that is created", &[
        ("src/admission/backups.rs", &["max_body_bytes: "]),
    ]),
    ("review of a BackupStorageLocation or a Restore", &[
        ("src/admission/locations.rs", &["max_body_bytes: "]),
        ("src/admission/restores.rs", &["max_body_bytes: "]),
    ]),
    ("review of the canary", &[
        ("src/admission/activation/canary/mod.rs", &["max_body_bytes: "]),
    ]),
    ("memory for a review, from the first byte of its body until its answer is written", &[
        ("src/admission/handler.rs", &["const FIXED_MEMORY_BYTES: ", "= "]),
        ("src/admission/pods.rs", &["memory_per_byte: "]),
        ("src/admission/locations.rs", &["memory_per_byte: "]),
        ("src/admission/restores.rs", &["memory_per_byte: "]),
        ("src/admission/backups.rs", &["memory_per_byte: "]),
    ]),
    ("of all, for one source address, while another one has sent a review in the last 10 min", &[]),
    ("memory for all reviews together", &[
        ("src/serving/settings.rs", &["impl Default for Caps", " memory: "]),
    ]),
    ("memory on top for small reviews, which need 1 MiB or less: Pods of 60 KB, other objects of 120 KB", &[
        ("src/serving/settings.rs", &["impl Default for Caps", " small_memory: "]),
    ]),
    ("bodies of 256 KiB and more", &[
        ("src/serving/large.rs", &["const MAX_CONCURRENT: ", "= "]),
    ]),
    ("arrival of a body", &[
        ("src/serving/settings.rs", &["impl Default for Timeouts", " body: "]),
    ]),
    ("writing of an answer", &[
        ("src/serving/settings.rs", &["impl Default for Timeouts", " write: "]),
    ]),
    ("encoding", &[]),
    ("time for an answer", &[
        ("src/serving/budget.rs", &["const DEFAULT_TIMEOUT: ", "= "]),
        ("src/serving/budget.rs", &["const MAX_TIMEOUT: ", "= "]),
    ]),
    ("warnings in an answer", &[
        ("src/admission/messages.rs", &["const MAX_WARNINGS: ", "= "]),
        ("src/admission/messages.rs", &["const MAX_WARNING_CHARS: ", "= "]),
        ("src/admission/messages.rs", &["const SHORT_WARNING_CHARS: ", "= "]),
    ]),
    ("findings in the message of a denial", &[
        ("src/admission/messages.rs", &["const MAX_MESSAGE_FINDINGS: ", "= "]),
    ]),
    ("findings of one rule in one CA bundle", &[
        ("src/ca/rules/finding_limiter.rs", &["const MAX_FINDINGS_PER_RULE: ", "= "]),
    ]),
    ("containers of a Pod, init containers of a Pod", &[
        ("src/velero/pod_limits.rs", &["const MAX_CONTAINERS: ", "= "]),
    ]),
    ("words of a command, arguments, environment variables of a container", &[
        ("src/velero/pod_limits.rs", &["const MAX_WORDS: ", "= "]),
        ("src/velero/pod_limits.rs", &["const MAX_VARIABLES: ", "= "]),
    ]),
    ("volumes of a Pod, mounts of a container", &[
        ("src/velero/pod_limits.rs", &["const MAX_VOLUMES: ", "= "]),
        ("src/velero/pod_limits.rs", &["const MAX_MOUNTS: ", "= "]),
    ]),
    ("raw block devices, sources of environment variables of a container", &[
        ("src/velero/pod_limits.rs", &["const MAX_DEVICES: ", "= "]),
        ("src/velero/pod_limits.rs", &["const MAX_VARIABLE_SOURCES: ", "= "]),
    ]),
    ("labels and annotations", &[]),
    ("settings in `spec.config` of a BackupStorageLocation", &[
        ("src/velero/bsl.rs", &["bounded_map::<_, "]),
    ]),
    ("patch", &[
        ("src/admission/answer.rs", &["const MAX_PATCH_BYTES: ", "= "]),
    ]),
    ("uid, name, kind and group of a request", &[
        ("src/admission/request.rs", &["const MAX_NAME_BYTES: ", "= "]),
    ]),
    ("namespaces that a Restore includes, excludes or maps", &[
        ("src/velero/restore.rs", &["const MAX_NAMESPACES: ", "= "]),
    ]),
    ("CA bundle", &[
        ("src/ca/references.rs", &["const MAX_BUNDLE_BYTES: ", "= "]),
    ]),
    ("blocks of a CA bundle, broken ones included", &[
        ("src/ca/pem/mod.rs", &["const MAX_BLOCKS: ", "= "]),
    ]),
    ("text of an object in a message", &[
        ("src/velero/text.rs", &["const MAX_SHOWN_CHARS: ", "= "]),
    ]),
    ("characters that nobody sees (Unicode Cc, Cf, Zl, Zp)", &[]),
    ("log lines about reviews", &[
        ("src/serving/review_log.rs", &["const RATE", " per_second: "]),
        ("src/serving/review_log.rs", &["const RATE", " burst: "]),
    ]),
    ("time for all look-ups of a review", &[]),
    ("one request to the API server", &[
        ("src/kubernetes/client.rs", &["const READ_TIMEOUT: ", "= "]),
    ]),
    ("first bundle of a namespace", &[]),
    ("objects that show whether a namespace is Velero's", &[
        ("src/kubernetes/bundle/baseline.rs", &["const PAGE_SIZE: ", "= "]),
    ]),
    ("wait of a look-up for its turn", &[]),
    ("look-ups at a time, of all reviews", &[
        ("src/sources/limited/quotas.rs", &["const LOOKUPS", "all: "]),
        ("src/sources/limited/quotas.rs", &["const LOOKUPS", "share: "]),
    ]),
    ("lists of the Backups of a schedule at a time", &[
        ("src/sources/limited/quotas.rs", &["const LISTS", "all: "]),
        ("src/sources/limited/quotas.rs", &["const LISTS", "share: "]),
    ]),
    ("lists of the PodVolumeBackups of a backup at a time", &[
        ("src/sources/limited/quotas.rs", &["const POD_VOLUMES", "all: "]),
        ("src/sources/limited/quotas.rs", &["const POD_VOLUMES", "share: "]),
    ]),
    ("lists of buckets at a time", &[
        ("src/sources/limited/quotas.rs", &["const BUCKETS: ", "all: "]),
        ("src/sources/limited/quotas.rs", &["const BUCKETS: ", "share: "]),
    ]),
    ("of them, of one location", &[
        ("src/sources/limited/quotas.rs", &["const BUCKETS_OF_LOCATION: ", "= "]),
    ]),
    ("time for a list of a bucket, with all that opens it", &[
        ("src/sources/cluster/files/mod.rs", &["impl Default for Patience", " list: "]),
    ]),
    ("buckets that stay open for the next list", &[
        ("src/bucket/open_stores.rs", &["const MAX_STORES: ", "= "]),
        ("src/sources/cluster/files/mod.rs", &["impl Default for Patience", " idle: "]),
    ]),
    ("pause of a location whose bucket was late", &[
        ("src/sources/cluster/files/mod.rs", &["impl Default for Patience", " pause: "]),
    ]),
    ("look-ups a second from one address", &[
        ("src/sources/limited/quotas.rs", &["const RATE_OF_CALLER", "per_second: "]),
        ("src/sources/limited/quotas.rs", &["const RATE_OF_CALLER", "burst: "]),
    ]),
    ("look-ups a second in one namespace, from one address", &[
        ("src/sources/limited/quotas.rs", &["const RATE_OF_NAMESPACE", "per_second: "]),
        ("src/sources/limited/quotas.rs", &["const RATE_OF_NAMESPACE", "burst: "]),
    ]),
    ("cost of a look-up, in the two rows above", &[
        ("src/sources/limited/quotas.rs", &["let tokens = ", "Lookup::Backup(_) => "]),
        ("src/sources/limited/quotas.rs", &["let tokens = ", "Lookup::Access { .. } => "]),
        ("src/sources/limited/quotas.rs", &["let tokens = ", "Lookup::Bundle(_) => "]),
        ("src/sources/limited/quotas.rs", &["let tokens = ", "Lookup::PodVolumes(_) => "]),
    ]),
    ("page of a list of Backups", &[
        ("src/sources/cluster/backups.rs", &["const PAGE_SIZE: ", "= "]),
        ("src/sources/cluster/fetch.rs", &["const MAX_ANSWER_BYTES: ", "= "]),
    ]),
    ("records of Backups of one name, for a review", &[
        ("src/sources/cluster/records.rs", &["const MAX_PAGES: ", "= "]),
        ("src/sources/cluster/records.rs", &["const PAGE_SIZE: ", "= "]),
    ]),
    ("addresses and namespaces that are told apart", &[
        ("src/rate_limiter.rs", &["const MAX_KEYS: ", "= "]),
    ]),
    ("rounds of look-ups", &[
        ("src/sources/mod.rs", &["const MAX_PASSES: ", "= "]),
    ]),
    ("bundle, with its annotations", &[
        ("src/ca/merged_bundle/mod.rs", &["const MAX_CONFIG_MAP_BYTES: ", "= "]),
    ]),
    ("memory of retained CAs of a namespace", &[
        ("src/ca/merged_bundle/mod.rs", &["const MAX_CONFIG_MAP_BYTES: ", "= "]),
    ]),
    ("CAs of the BSLs of a namespace", &[
        ("src/ca/evaluation_budget.rs", &["const MAX_CERTIFICATE_BYTES: ", "= "]),
    ]),
    ("certificates and findings of the BSLs of a namespace", &[
        ("src/ca/evaluation_budget.rs", &["const MAX_WEIGHT: ", "= "]),
        ("src/ca/evaluation_budget.rs", &["const CERTIFICATE_WEIGHT: ", "= "]),
    ]),
    ("kept of the evaluations of all namespaces, and of the CAs that they remember", &[
        ("src/controllers/bundle/evaluation_share.rs", &["const TOTAL_BYTES: ", "= "]),
        ("src/controllers/bundle/evaluation_share.rs", &["const GUARANTEED_BYTES: ", "= "]),
    ]),
    ("read for the BSLs of a namespace, at a time", &[
        ("src/ca/evaluation_budget.rs", &["const MAX_READ_BYTES: ", "= "]),
        ("src/controllers/bundle/live_evaluation.rs", &["const LOOKUP_TIMEOUT: ", "= "]),
    ]),
    ("BSLs that are evaluated at a time", &[
        ("src/controllers/bundle/live_evaluation.rs", &["const MAX_BATCH: ", "= "]),
        ("src/controllers/bundle/live_evaluation.rs", &["const BATCH_BYTES: ", "= "]),
    ]),
    ("a BSL, as the watch keeps it", &[
        ("src/kubernetes/location/entry.rs", &["const MAX_TEXT_BYTES: ", "= "]),
        ("src/kubernetes/location/entry.rs", &["const MAX_PAIRS_BYTES: ", "= "]),
    ]),
    ("objects of a namespace that a watch keeps", &[
        ("src/kubernetes/watch/mod.rs", &["const MAX_PER_NAMESPACE: ", "= "]),
        ("src/controllers/locations.rs", &["const MAX_LOCATIONS: ", "= "]),
    ]),
    ("kept of the BSLs of all namespaces", &[
        ("src/controllers/locations.rs", &["const TOTAL_BYTES: ", "= "]),
        ("src/controllers/locations.rs", &["const GUARANTEED_BYTES: ", "= "]),
        ("src/kubernetes/location/entry.rs", &["const LOCATION_BYTES: ", "= "]),
    ]),
    ("page of a list", &[
        ("src/kubernetes/watch/list_watch/mod.rs", &["const PAGE_SIZE: ", "= "]),
    ]),
    ("pages that are read at a time", &[
        ("src/kubernetes/streaming/mod.rs", &["const MAX_CONCURRENT_PAGES: ", "= "]),
    ]),
    ("a watch", &[
        ("src/kubernetes/watch/timing.rs", &["const DEFAULT", " watch_seconds: "]),
    ]),
    ("idle connection to the API server", &[
        ("src/kubernetes/connection.rs", &["const IDLE_TIMEOUT: ", "= "]),
    ]),
    ("answer to a list or a watch", &[
        ("src/kubernetes/watch/timing.rs", &["const DEFAULT", " answer: "]),
    ]),
    ("bundles that are built at a time", &[
        ("src/controllers/bundle/permits.rs", &["const MAX_CONCURRENT_BUILDS: ", "= "]),
    ]),
    ("Events of a kind in a namespace, at a time", &[
        ("src/controllers/event_deduper.rs", &["const MAX_EVENTS: ", "= "]),
    ]),
    ("report of a namespace", &[
        ("src/controllers/status/mod.rs", &["const MAX_REPORT_BYTES: ", "= "]),
    ]),
    ("endpoints of a namespace that are probed", &[
        ("src/controllers/endpoints/location.rs", &["const MAX_TARGETS: ", "= "]),
    ]),
    ("kept of what the endpoints of all namespaces present", &[
        ("src/controllers/endpoints/chain_quota.rs", &["const TOTAL_BYTES: ", "= "]),
        ("src/controllers/endpoints/chain_quota.rs", &["const GUARANTEED_BYTES: ", "= "]),
    ]),
    ("probes at a time", &[
        ("src/controllers/endpoints/probe/schedule/mod.rs", &["impl Default for RateLimits", " max_concurrent: "]),
        ("src/controllers/endpoints/probe/schedule/mod.rs", &["impl Default for RateLimits", " namespace_concurrent: "]),
    ]),
    ("probes in a minute", &[
        ("src/controllers/endpoints/probe/schedule/mod.rs", &["impl Default for RateLimits", " max_per_minute: "]),
        ("src/controllers/endpoints/probe/schedule/mod.rs", &["impl Default for RateLimits", " namespace_per_minute: "]),
    ]),
    ("interval between probes of an endpoint", &[
        ("src/controllers/endpoints/probe/schedule/mod.rs", &["impl Default for RateLimits", " interval: "]),
        ("src/controllers/endpoints/probe/schedule/mod.rs", &["impl Default for RateLimits", " min_interval: "]),
    ]),
    ("request for a probe", &[
        ("src/names.rs", &["const MAX_PROBE_REQUEST_CHARS: ", "= "]),
    ]),
    ("wait until the time of a probe that found nothing new is reported", &[
        ("src/controllers/endpoints/mod.rs", &["const TIME_REPORT_DELAY: ", "= "]),
    ]),
    ("wait until a report, or the published certificate, is written again after somebody changed it", &[
        ("src/controllers/status/mod.rs", &["const REPAIR_DELAY: ", "= "]),
        ("src/controllers/serving_certificate.rs", &["const REPAIR_DELAY: ", "= "]),
    ]),
    ("time between two writes of one webhook configuration", &[
        ("src/controllers/activation/mod.rs", &["const MIN_CHANGE_INTERVAL: ", "= "]),
    ]),
    ("CAs in a caBundle, with [certificates of its own](install.md#certificates)", &[
        ("src/admission/activation/decide/mod.rs", &["MAX_OWN_CAS: usize = "]),
    ]),
    ("interval of the canary", &[
        ("src/controllers/activation/mod.rs", &["const CANARY_INTERVAL: ", "= "]),
        ("src/controllers/activation/mod.rs", &["const TIMING", " max_backoff: "]),
    ]),
    ("answer of an endpoint that is probed", &[
        ("src/controllers/endpoints/probe/mod.rs", &["impl Default for ", " bytes: "]),
        ("src/controllers/endpoints/probe/mod.rs", &["impl Default for ", " deadline: "]),
    ]),
    ("connection to a store: DNS, TCP and TLS", &[
        ("src/bucket/connector/mod.rs", &["impl Default for Timing", " connect: "]),
        ("src/dial/mod.rs", &["const MAX_ADDRESSES: ", "= "]),
    ]),
    ("answer of a proxy", &[
        ("src/bucket/connector/mod.rs", &["impl Default for Timing", " connect: "]),
        ("src/dial/tunnel.rs", &["const MAX_HEAD_BYTES: ", "= "]),
    ]),
    ("addresses that are dialled", &[]),
    ("redirects", &[]),
    ("head of an answer", &[
        ("src/bucket/connector/mod.rs", &["impl Default for Timing", " head: "]),
        ("src/bucket/connector/mod.rs", &["const MAX_BUFFER_BYTES: ", "= "]),
    ]),
    ("pause between two pieces of an answer", &[
        ("src/bucket/connector/mod.rs", &["impl Default for Timing", " piece: "]),
    ]),
    ("reading of a file", &[
        ("src/bucket/reading.rs", &["const MIN_BYTES: ", "= "]),
    ]),
    ("requests for one thing", &[]),
    ("memory for a file that is read", &[
        ("src/bucket/connector/mod.rs", &["const MAX_BUFFER_BYTES: ", "= "]),
    ]),
    ("bytes of a file", &[]),
    ("list of a backup's files", &[
        ("src/bucket/store/mod.rs", &["const LIST_TIMEOUT: ", "= "]),
        ("src/bucket/list/collector.rs", &["const MAX_PAGES: ", "= "]),
        ("src/bucket/list/collector.rs", &["const PAGE_FILES: ", "= "]),
        ("src/bucket/list/collector.rs", &["const MAX_PAGE_BYTES: ", "= "]),
    ]),
    ("files of a backup", &[
        ("src/bucket/list/mod.rs", &["const MAX_FILES: ", "= "]),
        ("src/bucket/list/mod.rs", &["const MAX_NAME_BYTES: ", "= "]),
    ]),
    ("body of an error of a store", &[
        ("src/bucket/protocol/mod.rs", &["const MAX_ERROR_BYTES: ", "= "]),
        ("src/bucket/protocol/mod.rs", &["const MAX_CODE_CHARS: ", "= "]),
    ]),
    ("answer of a service that gives credentials", &[
        ("src/bucket/connector/mod.rs", &["const MAX_IDENTITY_BYTES: ", "= "]),
    ]),
    ("roles of a file of credentials that lead from one to the other", &[
        ("src/bucket/credentials/ini/chain.rs", &["const MAX_ROLES: ", "= "]),
    ]),
    ("token of velero-trust's own ServiceAccount, for a role", &[
        ("src/bucket/credentials/role/request.rs", &["const MAX_TOKEN_BYTES: ", "= "]),
    ]),
    ("files of a backup that is recorded", &[
        ("src/integrity/manifest.rs", &["const MAX_FILES: ", "= "]),
        ("src/integrity/manifest.rs", &["const MAX_NAME_BYTES: ", "= "]),
    ]),
    ("`velero-backup.json`", &[
        ("src/velero/backup_fields.rs", &["const MAX_DOCUMENT_BYTES: ", "= "]),
        ("src/velero/unique_keys.rs", &["const MAX_KEYS: ", "= "]),
    ]),
    ("PodVolumeBackups of a backup", &[
        ("src/integrity/pod_volumes.rs", &["const MAX_VOLUMES: ", "= "]),
        ("src/integrity/pod_volumes.rs", &["const MAX_LINE_BYTES: ", "= "]),
        ("src/kubernetes/pod_volume_backups.rs", &["const MAX_BYTES: ", "= "]),
    ]),
    ("envelope", &[
        ("src/integrity/envelope.rs", &["const MAX_BYTES: ", "= "]),
        ("src/integrity/envelope.rs", &["const MAX_SIGNATURES: ", "= "]),
    ]),
    ("backups that are read at the same time", &[
        ("src/controllers/recorder/slots.rs", &["const MAX_OF_LOCATION: ", "= "]),
        ("src/controllers/recorder/slots.rs", &["const MAX_OF_NAMESPACE: ", "= "]),
        ("src/controllers/recorder/slots.rs", &["const MAX_READS: ", "= "]),
    ]),
    ("pause after each that is read while Velero syncs, if no Restore waits for it", &[
        ("src/controllers/recorder/pace.rs", &["const RATIO: ", "= "]),
        ("src/controllers/recorder/pace.rs", &["const MAX_PAUSE: ", "= "]),
        ("src/controllers/recorder/pace.rs", &["const UNDER_WAY: ", "= "]),
    ]),
    ("backups that are read at the same time because Restores wait", &[]),
    ("Restores for which a reading counts", &[
        ("src/controllers/recorder/reading.rs", &["const MAX_RESTORES: ", "= "]),
    ]),
    ("readings of files that change meanwhile", &[
        ("src/controllers/recorder/verification.rs", &["const MAX_ATTEMPTS: ", "= "]),
    ]),
    ("envelopes that are read for Restores", &[
        ("src/controllers/recorder/reading.rs", &["const MAX_ENVELOPES: ", "= "]),
        ("src/integrity/envelope.rs", &["const MAX_BYTES: ", "= "]),
    ]),
    ("notes of the progress of a reading", &[
        ("src/controllers/recorder/verification.rs", &["const PROGRESS_PAUSE: ", "= "]),
    ]),
    ("Restores that wait", &[
        ("src/controllers/restores/waiting.rs", &["const MAX_OF_NAMESPACE: ", "= "]),
        ("src/controllers/restores/waiting.rs", &["const MAX_WAITING: ", "= "]),
    ]),
    ("Restores that are looked at, at a time", &[
        ("src/controllers/restores/mod.rs", &["const MAX_EVALUATIONS: ", "= "]),
    ]),
    ("look at a Restore that waits, although nothing changed", &[
        ("src/controllers/restores/waiting.rs", &["const POLL_PAUSE: ", "= "]),
        ("src/controllers/restores/waiting.rs", &["const POLL_SPACING: ", "= "]),
    ]),
    ("requests to Velero to try a Restore again", &[
        ("src/controllers/restores/waiting.rs", &["const MIN_NUDGE_PAUSE: ", "= "]),
        ("src/controllers/restores/waiting.rs", &["const MAX_NUDGE_PAUSE: ", "= "]),
    ]),
    ("Restores that a record remembers because they were accepted, or files changed", &[
        ("src/controllers/restores/aftermath.rs", &["const MAX_REMEMBERED: ", "= "]),
    ]),
    ("words of a user on a Restore", &[
        ("src/controllers/restores/aftermath.rs", &["const MAX_TEXT_CHARS: ", "= "]),
    ]),
    ("steps of the recorder at the same time", &[
        ("src/controllers/recorder/mod.rs", &["const MAX_STEPS: ", "= "]),
    ]),
    ("pause before a store is tried again", &[
        ("src/controllers/recorder/mod.rs", &["const TIMING", " min_backoff: "]),
        ("src/controllers/recorder/mod.rs", &["const TIMING", " max_backoff: "]),
        ("src/controllers/recorder/verification.rs", &["const MAX_PAUSE: ", "= "]),
    ]),
    ("message of a record", &[
        ("src/controllers/recorder/steps.rs", &["const MAX_MESSAGE_CHARS: ", "= "]),
    ]),
    ("uploads of an envelope", &[
        ("src/controllers/recorder/envelope.rs", &["const PUT_PAUSES", "= ["]),
        ("src/controllers/recorder/envelope.rs", &["const PUT_PAUSES", "= [", ", "]),
        ("src/controllers/recorder/mod.rs", &["const UPLOAD_PAUSE: ", "= "]),
    ]),
    ("wait for the URL of a DownloadRequest", &[
        ("src/controllers/recorder/download/mod.rs", &["const LONGEST: ", "= "]),
    ]),
    ("writing after the completion of a backup", &[
        ("src/integrity/origin.rs", &["const TOLERANCE_MILLIS: ", "= "]),
    ]),
    ("name of a user who vouches for a backup", &[
        ("src/velero/observed_backup.rs", &["const MAX_ADOPTION_BYTES: ", "= "]),
    ]),
    ("records in memory", &[
        ("src/controllers/records/mod.rs", &["const MAX_RECORDS: ", "= "]),
    ]),
    ("entries of a directory that `verify` reads", &[
        ("src/cli/verify/directory.rs", &["const MAX_ENTRIES: ", "= "]),
    ]),
    ("page of the list of Backups that `status` counts", &[
        ("src/cli/snapshot/backups.rs", &["const PAGE_SIZE: ", "= "]),
    ]),
    ("page of the list of Backups of `backup list` and `backup show`", &[
        ("src/cli/backup/list.rs", &["const PAGE_SIZE: ", "= "]),
        ("src/cli/backup/show.rs", &["const PAGE_SIZE: ", "= "]),
    ]),
    ("page of the list of records", &[
        ("src/cli/snapshot/records.rs", &["const PAGE_SIZE: ", "= "]),
    ]),
    ("buckets that `doctor` tries at a time", &[
        ("src/cli/doctor/buckets.rs", &["const MAX_CONCURRENT_BUCKETS: ", "= "]),
    ]),
    ("time for one of them", &[
        ("src/cli/doctor/buckets.rs", &["const BUCKET_TIMEOUT: ", "= "]),
    ]),
    ("Velero's message on a BackupStorageLocation, in `doctor`", &[
        ("src/cli/doctor/checks/locations.rs", &["const MAX_MESSAGE_CHARS: ", "= "]),
    ]),
];

/// A value of the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Value {
    Number(u64),
    Milliseconds(u64),
}

impl Value {
    /// Reads the value behind the texts of a place.
    fn read((file, texts): Place) -> Self {
        let code = fs::read_to_string(file).unwrap();
        let behind = texts.iter().fold(&*code, |rest, text| {
            let found = rest.split_once(text);
            found.unwrap_or_else(|| panic!("{file} has no `{text}`")).1
        });
        let end = behind.find([',', ';', '}', ']', '>']).unwrap();
        let value = Self::parse(behind[..end].trim());
        let value = value.unwrap_or_else(|| panic!("{file}: `{}`", &behind[..end]));
        match (value, texts) {
            (Self::Number(number), [.., name, _]) if name.ends_with("_MILLIS: ") => {
                Self::Milliseconds(number)
            }
            (Self::Number(number), [.., name]) if name.ends_with("_seconds: ") => {
                Self::Milliseconds(number * 1_000)
            }
            _ => value,
        }
    }

    fn parse(code: &str) -> Option<Self> {
        if let Some(call) = code.strip_prefix("Duration::from_") {
            let (unit, number) = call.strip_suffix(')')?.split_once('(')?;
            let milliseconds = match unit {
                "millis" => 1,
                "secs" => 1_000,
                "mins" => 60_000,
                "hours" => 3_600_000,
                _ => return None,
            };
            return Some(Self::Milliseconds(integer(number)? * milliseconds));
        }
        let factors = code.split(" * ").map(|factor| {
            let factor = factor.trim_matches(['(', ')']);
            match factor.split_once(" << ") {
                Some((number, bits)) => Some(integer(number)? << integer(bits)?),
                None => integer(factor),
            }
        });
        let number = factors.product::<Option<u64>>()?;
        Some(Self::Number(number))
    }

    /// Returns how the value may be written.
    fn texts(self) -> Vec<String> {
        let (value, units): (u64, &[(u64, &str)]) = match self {
            Self::Number(number) => (number, &[(1, ""), (1 << 10, " KiB"), (1 << 20, " MiB")]),
            Self::Milliseconds(time) => {
                let units = &[
                    (1, " ms"),
                    (1_000, " s"),
                    (60_000, " min"),
                    (3_600_000, " h"),
                ];
                (time, units)
            }
        };
        let whole = units.iter().filter(|(size, _)| value.is_multiple_of(*size));
        whole
            .map(|(size, unit)| format!("{}{unit}", grouped(value / size)))
            .collect()
    }
}

fn integer(code: &str) -> Option<u64> {
    code.replace('_', "").parse().ok()
}

/// Writes a number with a comma before each three digits.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Whether `cell` has `text`, and not as a part of a longer number or word.
fn has(cell: &str, text: &str) -> bool {
    cell.match_indices(text).any(|(start, _)| {
        let before = cell[..start].chars().next_back();
        let mut after = cell[start + text.len()..].chars();
        let (next, second) = (after.next(), after.next());
        let is_digit = |c: Option<char>| c.is_some_and(|c| c.is_ascii_digit());
        let is_part = before.is_some_and(|c| c.is_alphanumeric() || ",.".contains(c))
            || next.is_some_and(char::is_alphanumeric)
            || next == Some(',') && is_digit(second);
        !is_part
    })
}

#[test]
fn the_table_says_the_values_of_the_code() {
    let page = fs::read_to_string("docs/limits.md").unwrap();
    let rows = page.lines().filter(|line| line.starts_with("| "));
    let rows: Vec<Vec<&str>> = rows.map(|row| row.split(" | ").collect()).collect();
    let rows: Vec<_> = rows.iter().filter(|row| row[0] != "| bound").collect();
    let names: Vec<_> = rows.iter().map(|row| &row[0][2..]).collect();
    let wanted: Vec<_> = BOUNDS.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, wanted, "each bound has its places in BOUNDS");
    for (row, (name, places)) in rows.iter().zip(BOUNDS) {
        for place in *places {
            let texts = Value::read(*place).texts();
            assert!(
                texts.iter().any(|text| has(row[1], text)),
                "docs/limits.md says of {name}: {}; {place:?} is {texts:?}",
                row[1]
            );
        }
    }
    let held = BOUNDS.iter().filter(|(_, places)| !places.is_empty());
    assert!(held.count() > 95);
}

#[test]
fn values_are_read_from_the_code_and_found_in_a_cell() {
    let written = |code: &str| Value::parse(code).unwrap().texts().join("|");
    assert_eq!(written("20_000"), "20,000");
    assert_eq!(written("4 << 20"), "4,194,304|4,096 KiB|4 MiB");
    assert_eq!(written("64 * 1024"), "65,536|64 KiB");
    assert_eq!(written("60 * (256 << 10)"), "15,728,640|15,360 KiB|15 MiB");
    assert_eq!(written("Duration::from_mins(2)"), "120,000 ms|120 s|2 min");
    assert_eq!(Value::parse("OTHER"), None);
    for (cell, text, is_there) in [
        ("2 min, 100 pages", "2 min", true),
        ("12 min", "2 min", false),
        ("2 minutes", "2 min", false),
        ("16, and 12 for one", "16", true),
        ("1,000 of them", "1", false),
        ("1,000 of them", "000", false),
    ] {
        assert_eq!(has(cell, text), is_there, "{cell} {text}");
    }
}
