//! What the API server's message about a failed call means.

use super::WEBHOOK;

/// What came of a canary request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// velero-trust answered.
    Answered,
    /// The API server did not call the webhook.
    NotAsked,
    /// Nothing came back in time.
    TimedOut,
    /// Nothing listens at the address.
    ConnectionRefused,
    /// The API server has no route to the Pods.
    NoRoute,
    /// The Service does not exist.
    NoService,
    /// The Service has no such port.
    NoServicePort,
    /// The Service has no ready Pod.
    NoEndpoint,
    /// The API server looks the Service up in DNS.
    UnknownHost,
    /// The CA does not match.
    WrongCa,
    /// The certificate is for another name.
    WrongName,
    /// The certificate has expired.
    CertificateExpired,
    /// What listens speaks no TLS.
    NotTls,
    /// A proxy is between.
    Proxy,
    /// The tunnel of the control plane has no end at the nodes.
    Tunnel,
    /// The connection was closed.
    ConnectionClosed,
    /// Something else answered.
    OtherServer,
    /// velero-trust answered that it cannot.
    Unavailable,
    /// Something else refused the request.
    OtherAdmission,
    /// The account may not do it.
    Forbidden,
    /// The API server itself did not answer.
    NoApiServer,
    /// None of these.
    Other,
}

/// The fragments of messages, the more telling first. Those of calls come with the name of the webhook.
const OF_CALLS: [(&str, Outcome); 36] = [
    ("proxyconnect", Outcome::Proxy),
    ("Proxy Authentication Required", Outcome::Proxy),
    ("No agent available", Outcome::Tunnel),
    ("No backend available", Outcome::Tunnel),
    ("error dialing backend", Outcome::Tunnel),
    ("rpc error", Outcome::Tunnel),
    ("no endpoints available", Outcome::NoEndpoint),
    ("no service port", Outcome::NoServicePort),
    ("no such host", Outcome::UnknownHost),
    ("server misbehaving", Outcome::UnknownHost),
    ("certificate has expired", Outcome::CertificateExpired),
    ("certificate is valid for", Outcome::WrongName),
    ("certificate is not valid for", Outcome::WrongName),
    ("doesn't contain any IP SANs", Outcome::WrongName),
    ("unknown authority", Outcome::WrongCa),
    ("x509:", Outcome::WrongCa),
    ("unable to load root certificates", Outcome::WrongCa),
    ("HTTP response to HTTPS client", Outcome::NotTls),
    ("does not look like a TLS handshake", Outcome::NotTls),
    ("connection refused", Outcome::ConnectionRefused),
    ("no route to host", Outcome::NoRoute),
    ("network is unreachable", Outcome::NoRoute),
    ("deadline exceeded", Outcome::TimedOut),
    ("i/o timeout", Outcome::TimedOut),
    ("Client.Timeout", Outcome::TimedOut),
    ("TLS handshake timeout", Outcome::TimedOut),
    ("connection reset", Outcome::ConnectionClosed),
    ("EOF", Outcome::ConnectionClosed),
    (
        "could not find the requested resource",
        Outcome::OtherServer,
    ),
    ("invalid webhook response", Outcome::OtherServer),
    ("expected webhook response", Outcome::OtherServer),
    ("denied the request", Outcome::OtherServer),
    ("unable to handle the request", Outcome::Unavailable),
    ("an error on the server", Outcome::Unavailable),
    ("remote error: tls", Outcome::Other),
    ("not found", Outcome::NoService),
];

/// What a proxy's answer to CONNECT looks like: Go returns the text of the status alone.
const PROXY_STATUS: [&str; 5] = [
    ": Forbidden",
    ": Bad Gateway",
    ": Service Unavailable",
    ": Gateway Timeout",
    ": Method Not Allowed",
];

impl Outcome {
    /// Reads the message of an error.
    pub(super) fn of_error(message: &str) -> Self {
        if message.contains(WEBHOOK) {
            let mut known = OF_CALLS.iter();
            if let Some((_, outcome)) = known.find(|(text, _)| message.contains(text)) {
                return *outcome;
            }
            let is_proxy = PROXY_STATUS.iter().any(|text| message.ends_with(text));
            return if is_proxy { Self::Proxy } else { Self::Other };
        }
        if message.contains("admission") || message.contains("failed calling webhook") {
            Self::OtherAdmission
        } else if message.contains("forbidden") {
            Self::Forbidden
        } else if message.starts_with("the API server") {
            Self::NoApiServer
        } else {
            Self::Other
        }
    }

    /// Returns the name in metrics and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::NotAsked => "notAsked",
            Self::TimedOut => "timedOut",
            Self::ConnectionRefused => "connectionRefused",
            Self::NoRoute => "noRoute",
            Self::NoService => "noService",
            Self::NoServicePort => "noServicePort",
            Self::NoEndpoint => "noEndpoint",
            Self::UnknownHost => "unknownHost",
            Self::WrongCa => "wrongCa",
            Self::WrongName => "wrongName",
            Self::CertificateExpired => "certificateExpired",
            Self::NotTls => "notTls",
            Self::Proxy => "proxy",
            Self::Tunnel => "tunnel",
            Self::ConnectionClosed => "connectionClosed",
            Self::OtherServer => "otherServer",
            Self::Unavailable => "unavailable",
            Self::OtherAdmission => "otherAdmission",
            Self::Forbidden => "forbidden",
            Self::NoApiServer => "noApiServer",
            Self::Other => "other",
        }
    }

    /// Returns the likely cause, and what to do about it; empty if it was answered.
    pub const fn cause(self) -> &'static str {
        match self {
            Self::Answered => "",
            Self::NotAsked => {
                "the API server let the canary pass without a call: it does not know the configuration \
                 velero-trust-canary yet, or somebody narrowed it; apply your kustomization of the manifests \
                 again if this stays"
            }
            Self::TimedOut => {
                "a firewall drops what the control plane sends to the nodes on port 10250, as in private \
                 clusters of GKE, or a NetworkPolicy keeps it from the Pods; open that port, or set a \
                 hostNetwork and a port that is open"
            }
            Self::ConnectionRefused => {
                "nothing listens where the Service points: its targetPort, or the port in the configuration, \
                 is not that of `--listen`"
            }
            Self::NoRoute => {
                "the control plane has no route to the network of the Pods, as with a CNI of one's own on \
                 EKS; run velero-trust with hostNetwork"
            }
            Self::NoService => {
                "the Service is not there; apply your kustomization of the manifests again"
            }
            Self::NoServicePort => {
                "the port in the configuration is none of the Service; apply your kustomization of the \
                 manifests again"
            }
            Self::NoEndpoint => "no Pod of velero-trust is ready behind the Service",
            Self::UnknownHost => {
                "the API server looks the Service up in DNS, which is how it finds a Service through a \
                 proxy; except .svc from the proxy of the API server (no_proxy)"
            }
            Self::WrongCa => {
                "the caBundle is not that of the certificate that is presented: another CA, or a proxy that \
                 ends TLS between"
            }
            Self::WrongName => {
                "the certificate that is presented is not for the name of the Service: it is another \
                 installation's, or was issued without that name"
            }
            Self::CertificateExpired => {
                "the serving certificate, or its CA, has expired, or the clock of the control plane is wrong"
            }
            Self::NotTls => {
                "the Service points to a port that speaks no TLS, such as that of the metrics"
            }
            Self::Proxy => {
                "the API server calls webhooks through a proxy; except .svc and the network of the Services \
                 from it (no_proxy of the API server)"
            }
            Self::Tunnel => {
                "the tunnel from the control plane to the nodes (konnectivity, or the tunnel of the \
                 provider) has no end here; see whether its agents run"
            }
            Self::ConnectionClosed => {
                "something between the control plane and the Pods closes the connection, such as a service \
                 mesh that wants TLS of its own; except port 10250 from it"
            }
            Self::OtherServer => {
                "something else than this version of velero-trust answers at the Service; see its selector"
            }
            Self::Unavailable => {
                "a replica answered that it cannot decide: it is of an earlier version, drains, or has no \
                 memory left"
            }
            Self::OtherAdmission => {
                "another admission webhook or policy refuses the canary, or cannot be called; except \
                 ConfigMap velero-trust-canary from it"
            }
            Self::Forbidden => {
                "the account of velero-trust may not patch ConfigMaps in its own namespace, or a quota is \
                 used up; apply your kustomization of the manifests again"
            }
            Self::NoApiServer => "the API server does not answer velero-trust itself",
            Self::Other => "the cause is not known; the message is that of the API server",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Messages of API servers, word for word.
    #[test]
    fn each_message_has_its_cause() {
        let post = "Internal error occurred: failed calling webhook \"canary.velero-trust.io\": failed to call \
                    webhook: Post \"https://velero-trust.velero-trust.svc:443/validate/canary?timeout=5s\": ";
        for (said, outcome) in [
            ("context deadline exceeded", Outcome::TimedOut),
            ("dial tcp 10.96.0.7:443: i/o timeout", Outcome::TimedOut),
            (
                "net/http: request canceled while waiting for connection (Client.Timeout exceeded while \
                 awaiting headers)",
                Outcome::TimedOut,
            ),
            (
                "dial tcp 10.96.0.7:443: connect: connection refused",
                Outcome::ConnectionRefused,
            ),
            (
                "dial tcp 10.244.1.9:10250: connect: no route to host",
                Outcome::NoRoute,
            ),
            (
                "dial tcp 10.244.1.9:10250: connect: network is unreachable",
                Outcome::NoRoute,
            ),
            ("service \"velero-trust\" not found", Outcome::NoService),
            (
                "no service port 8443 found for service \"velero-trust\"",
                Outcome::NoServicePort,
            ),
            (
                "no endpoints available for service \"velero-trust\"",
                Outcome::NoEndpoint,
            ),
            (
                "dial tcp: lookup velero-trust.velero-trust.svc on 169.254.169.254:53: no such host",
                Outcome::UnknownHost,
            ),
            (
                "tls: failed to verify certificate: x509: certificate signed by unknown authority",
                Outcome::WrongCa,
            ),
            (
                "tls: failed to verify certificate: x509: certificate is valid for localhost, not \
                 velero-trust.velero-trust.svc",
                Outcome::WrongName,
            ),
            (
                "tls: failed to verify certificate: x509: certificate has expired or is not yet valid: \
                 current time 2026-11-29T21:00:00Z is after 2026-11-28T21:00:00Z",
                Outcome::CertificateExpired,
            ),
            (
                "http: server gave HTTP response to HTTPS client",
                Outcome::NotTls,
            ),
            (
                "tls: first record does not look like a TLS handshake",
                Outcome::NotTls,
            ),
            (
                "proxyconnect tcp: dial tcp 192.0.2.1:3128: connect: connection refused",
                Outcome::Proxy,
            ),
            ("Proxy Authentication Required", Outcome::Proxy),
            ("Forbidden", Outcome::Proxy),
            ("Bad Gateway", Outcome::Proxy),
            ("No agent available", Outcome::Tunnel),
            ("EOF", Outcome::ConnectionClosed),
            (
                "read tcp 10.0.0.2:44712->10.96.0.7:443: read: connection reset by peer",
                Outcome::ConnectionClosed,
            ),
            ("something new", Outcome::Other),
        ] {
            let message = format!("{post}{said}");
            assert_eq!(Outcome::of_error(&message), outcome, "{message}");
        }
    }

    #[test]
    fn what_answers_is_told_apart_from_what_is_between() {
        let call = "Internal error occurred: failed calling webhook \"canary.velero-trust.io\": failed to call \
                    webhook: ";
        for (said, outcome) in [
            (
                "the server could not find the requested resource",
                Outcome::OtherServer,
            ),
            (
                "the server is currently unable to handle the request",
                Outcome::Unavailable,
            ),
        ] {
            assert_eq!(Outcome::of_error(&format!("{call}{said}")), outcome);
        }
        for (message, outcome) in [
            (
                "admission webhook \"validate.kyverno.svc-fail\" denied the request: no labels",
                Outcome::OtherAdmission,
            ),
            (
                "Internal error occurred: failed calling webhook \"vault.example.com\": failed to call webhook: \
                 Post \"https://vault\": EOF",
                Outcome::OtherAdmission,
            ),
            (
                "configmaps \"velero-trust-canary\" is forbidden: User \
                 \"system:serviceaccount:velero-trust:velero-trust\" cannot patch resource \"configmaps\"",
                Outcome::Forbidden,
            ),
        ] {
            assert_eq!(Outcome::of_error(message), outcome, "{message}");
        }
    }
}
