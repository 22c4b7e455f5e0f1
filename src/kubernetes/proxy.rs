//! The proxy between a command and the API server, chosen as client-go does.
//!
//! kube compares `NO_PROXY` with the address of the proxy (`file_loader.rs` of kube-client 5.0), so
//! that it has no effect there.

use http::Uri;
use hyper_util::client::proxy::matcher::Intercept;
use kube::config::Kubeconfig;

use crate::dial::{Proxies, Proxy};

/// Returns the proxy for requests to `server`: the `proxy-url` of the cluster that `context` names
/// in `kubeconfig`, else that of `environment`. `None` if there is none.
pub(super) fn select(
    server: &Uri,
    kubeconfig: &Kubeconfig,
    context: Option<&str>,
    environment: &Proxies,
) -> Option<Intercept> {
    if let Some(url) = configured(kubeconfig, context) {
        // `NO_PROXY` is about the proxy of the environment only.
        return Some(Proxy::parse(url)?.intercept().clone());
    }
    let proxy = environment.select_for(server)?;
    Some(proxy.intercept().clone())
}

/// Returns the `proxy-url` of the cluster that `context`, or else the current one, names.
fn configured<'a>(kubeconfig: &'a Kubeconfig, context: Option<&str>) -> Option<&'a str> {
    let context = context.or(kubeconfig.current_context.as_deref())?;
    let mut contexts = kubeconfig.contexts.iter();
    let context = contexts.find(|it| it.name == context)?.context.as_ref()?;
    let mut clusters = kubeconfig.clusters.iter();
    let cluster = clusters.find(|it| it.name == context.cluster)?;
    let url = cluster.cluster.as_ref()?.proxy_url.as_deref()?;
    (!url.is_empty()).then_some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER: &str = "https://api.corp.example:6443";

    fn kubeconfig(proxy: &str) -> Kubeconfig {
        let text = format!(
            "clusters: [{{name: c, cluster: {{server: {SERVER}{proxy}}}}}]\n\
             contexts: [{{name: x, context: {{cluster: c, user: u}}}}]\n\
             current-context: x\n"
        );
        Kubeconfig::from_yaml(&text).unwrap()
    }

    fn selected(server: &str, proxy: &str, no: &str) -> Option<String> {
        let environment = Proxies::read(|name| {
            let value = match name {
                "HTTPS_PROXY" => "proxy.corp.example:3128",
                "NO_PROXY" => no,
                _ => return None,
            };
            Some(value.to_owned())
        });
        let server = server.parse().unwrap();
        let proxy = select(&server, &kubeconfig(proxy), None, &environment);
        proxy.map(|proxy| proxy.uri().to_string())
    }

    #[test]
    fn no_proxy_is_about_the_api_server_and_not_about_the_proxy() {
        let proxy = Some("http://proxy.corp.example:3128/".to_owned());
        assert_eq!(selected(SERVER, "", ""), proxy);
        assert_eq!(selected(SERVER, "", "proxy.corp.example"), proxy);
        for no in ["api.corp.example", ".corp.example", "*"] {
            assert_eq!(selected(SERVER, "", no), None, "{no}");
        }
        assert_eq!(selected("https://10.1.0.1:6443", "", "10.1.0.0/16"), None);
    }

    #[test]
    fn a_server_on_this_machine_has_no_proxy() {
        for server in ["localhost", "127.0.0.1", "[::1]"] {
            assert_eq!(selected(&format!("https://{server}:6443"), "", ""), None);
        }
    }

    #[test]
    fn the_kubeconfig_has_the_last_word() {
        let configured = ", proxy-url: 'http://other:8080'";
        let other = Some("http://other:8080/".to_owned());
        assert_eq!(selected(SERVER, configured, ""), other);
        assert_eq!(selected(SERVER, configured, "*"), other);
    }
}
