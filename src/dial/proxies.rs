//! The proxies of the environment for requests to object stores: `HTTPS_PROXY`, `HTTP_PROXY` and
//! `NO_PROXY`, or the same in lower case, as Go reads them (`golang.org/x/net/http/httpproxy`).

use std::sync::Arc;

use http::{HeaderValue, Uri};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};

use super::NoProxy;

/// The port of an http proxy whose URL names none.
const HTTP_PORT: u16 = 80;

/// The proxies of an environment. Cheap to clone; the default is none.
#[derive(Clone, Debug, Default)]
pub struct Proxies(Arc<Variables>);

#[derive(Debug, Default)]
struct Variables {
    http: Option<Proxy>,
    https: Option<Proxy>,
    no: NoProxy,
    ignored: Vec<&'static str>,
}

/// A proxy. Its debug output has no credentials.
#[derive(Clone, Debug)]
pub struct Proxy(Intercept);

impl Proxies {
    /// Reads the environment of this process.
    pub fn from_env() -> Self {
        Self::read(|name| std::env::var(name).ok())
    }

    /// Reads an environment. A name in upper case comes first, and an empty value counts for nothing.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Self {
        let mut ignored = Vec::new();
        let set = |names: [&'static str; 2]| {
            let mut values = names.into_iter().map(|name| (name, variable(name)));
            values.find_map(|(name, value)| Some((name, value.filter(|value| !value.is_empty())?)))
        };
        let mut proxy = |names| {
            let (name, url) = set(names)?;
            let proxy = Proxy::parse(&url);
            if proxy.is_none() {
                ignored.push(name);
            }
            proxy
        };
        let http = proxy(["HTTP_PROXY", "http_proxy"]);
        let https = proxy(["HTTPS_PROXY", "https_proxy"]);
        let no = set(["NO_PROXY", "no_proxy"]);
        Self(Arc::new(Variables {
            http,
            https,
            no: no.map_or_else(NoProxy::default, |(_, text)| NoProxy::parse(&text)),
            ignored,
        }))
    }

    /// Returns the proxy for requests to `host`, without brackets, and `port`; `None` if there is none.
    pub fn select(&self, is_https: bool, host: &str, port: u16) -> Option<&Proxy> {
        let Variables {
            http, https, no, ..
        } = &*self.0;
        let proxy = if is_https { https } else { http };
        proxy.as_ref().filter(|_| !no.exempts(host, port))
    }

    /// Returns the proxy for requests to `url`; `None` if there is none.
    pub fn select_for(&self, url: &Uri) -> Option<&Proxy> {
        let is_https = url.scheme_str() == Some("https");
        let port = url.port_u16().unwrap_or(if is_https { 443 } else { 80 });
        self.select(is_https, super::host_of(url), port)
    }

    /// Returns the variables whose value is no URL of a proxy. Like Go, velero-trust uses none then.
    pub fn ignored(&self) -> &[&'static str] {
        &self.0.ignored
    }
}

impl Proxy {
    /// Reads the URL of a proxy; without a scheme, it is an http proxy.
    pub fn parse(url: &str) -> Option<Self> {
        let any = Uri::from_static("http://store");
        Matcher::builder()
            .all(url)
            .build()
            .intercept(&any)
            .map(Self)
    }

    /// Whether it speaks plain HTTP.
    pub fn is_http(&self) -> bool {
        self.0.uri().scheme_str() == Some("http")
    }

    /// Returns its host, without brackets.
    pub fn host(&self) -> &str {
        super::host_of(self.0.uri())
    }

    /// Returns its port.
    pub fn port(&self) -> u16 {
        self.0.uri().port_u16().unwrap_or(HTTP_PORT)
    }

    /// Returns its URL without credentials.
    pub fn url(&self) -> String {
        self.0.uri().to_string()
    }

    /// Returns its credentials, as the header `Proxy-Authorization` has them.
    pub fn authorization(&self) -> Option<&HeaderValue> {
        self.0.basic_auth()
    }

    /// Returns it for a connector of hyper-util.
    pub const fn intercept(&self) -> &Intercept {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(variables: &[(&str, &str)]) -> Proxies {
        Proxies::read(|name| {
            let found = variables.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    fn selected(variables: &[(&str, &str)], url: &str) -> Option<String> {
        let proxies = proxies(variables);
        proxies.select_for(&url.parse().unwrap()).map(Proxy::url)
    }

    #[test]
    fn each_scheme_has_its_own_proxy() {
        let both = [("HTTPS_PROXY", "http://s:1"), ("HTTP_PROXY", "p:2")];
        let of = |url| selected(&both, url);
        assert_eq!(of("https://store").unwrap(), "http://s:1/");
        assert_eq!(of("http://store:9000").unwrap(), "http://p:2/");
        assert_eq!(selected(&both[..1], "http://store"), None);
        // Go does not know ALL_PROXY.
        assert_eq!(
            selected(&[("ALL_PROXY", "http://a:1")], "http://store"),
            None
        );
    }

    #[test]
    fn upper_case_comes_first_and_an_empty_value_is_none() {
        let both = [("HTTPS_PROXY", "upper"), ("https_proxy", "lower")];
        assert_eq!(selected(&both, "https://a").unwrap(), "http://upper/");
        let empty = [("HTTPS_PROXY", ""), ("https_proxy", "lower")];
        assert_eq!(selected(&empty, "https://a").unwrap(), "http://lower/");
    }

    #[test]
    fn no_proxy_sees_the_port_of_the_url() {
        let variables = |no| [("HTTPS_PROXY", "p"), ("no_proxy", no)];
        let is_direct = |no, url| selected(&variables(no), url).is_none();
        assert!(is_direct("store:443", "https://store"));
        assert!(!is_direct("store:80", "https://store"));
        assert!(is_direct("store:9000", "https://store:9000"));
        assert!(is_direct("fd00::/8", "https://[fd00::1]:9000"));
        assert!(is_direct("", "https://[::1]:9000"));
        assert!(is_direct("", "https://localhost"));
    }

    #[test]
    fn credentials_are_in_the_header_only() {
        let proxies = proxies(&[("HTTPS_PROXY", "http://jane:p%40ss@proxy:3128")]);
        let proxy = proxies.select(true, "store", 443).unwrap();
        // jane:p@ss
        assert_eq!(proxy.authorization().unwrap(), "Basic amFuZTpwQHNz");
        assert_eq!((proxy.host(), proxy.port()), ("proxy", 3128));
        let shown = format!("{proxies:?} {}", proxy.url());
        assert!(
            !shown.contains("jane") && !shown.contains("amFu"),
            "{shown}"
        );
    }

    #[test]
    fn a_value_that_is_no_url_is_told_by_its_name() {
        let proxies = proxies(&[("HTTPS_PROXY", "http://a b"), ("http_proxy", "ftp://p")]);
        assert_eq!(proxies.ignored(), ["http_proxy", "HTTPS_PROXY"]);
        assert!(proxies.select(true, "store", 443).is_none());
    }
}
