//! The texts in extensions that Go parses: URIs, domains and mailboxes.

use core::net::Ipv6Addr;

/// Returns whether Go accepts `text` as the URI of an alternative name (`net/url.Parse`, then its
/// host).
pub(super) fn is_uri(text: &str) -> bool {
    if !text.is_ascii() || text.bytes().any(|byte| byte.is_ascii_control()) {
        return false;
    }
    let (text, fragment) = text.split_once('#').unwrap_or((text, ""));
    if !has_valid_escapes(fragment) {
        return false;
    }
    let Some((scheme, rest)) = split_scheme(text) else {
        return false;
    };
    let rest = rest.split_once('?').map_or(rest, |(path, _)| path);
    if !rest.starts_with('/') {
        // `mailto:a` is opaque. Without a scheme it is a path without a colon in its first part.
        return !scheme.is_empty()
            || has_valid_escapes(rest) && !rest.split('/').next().unwrap_or("").contains(':');
    }
    let is_rooted = scheme.is_empty() && rest.starts_with("///");
    match rest.strip_prefix("//") {
        Some(rest) if !is_rooted => {
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            is_authority(authority) && has_valid_escapes(path)
        }
        _ => has_valid_escapes(rest),
    }
}

/// Splits off the scheme, which is empty if there is none. Returns none if a colon comes first.
fn split_scheme(text: &str) -> Option<(&str, &str)> {
    let end = text
        .bytes()
        .position(|byte| !(byte.is_ascii_alphanumeric() || b"+-.".contains(&byte)));
    match end.and_then(|end| text.split_at_checked(end)) {
        Some(("", rest)) if rest.starts_with(':') => None,
        Some((scheme, rest))
            if rest.starts_with(':') && scheme.starts_with(|c: char| c.is_ascii_alphabetic()) =>
        {
            Some((scheme, rest.strip_prefix(':').unwrap_or(rest)))
        }
        _ => Some(("", text)),
    }
}

fn is_authority(authority: &str) -> bool {
    let host = match authority.rsplit_once('@') {
        None => authority,
        Some((user, host)) => {
            let is_user =
                |byte: u8| byte.is_ascii_alphanumeric() || b"-._:~!$&'()*+,;=%@".contains(&byte);
            if !user.bytes().all(is_user) || !has_valid_escapes(user) {
                return false;
            }
            host
        }
    };
    if let Some(literal) = host.strip_prefix('[') {
        return literal.rsplit_once(']').is_some_and(|(address, port)| {
            address.parse::<Ipv6Addr>().is_ok() && is_optional_port(port)
        });
    }
    let port = host.rfind(':').and_then(|at| host.get(at..)).unwrap_or("");
    let is_host =
        |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~!$&'()*+,;=:[]<>\"".contains(&byte);
    is_optional_port(port) && host.bytes().all(is_host) && is_domain(host, false)
}

fn is_optional_port(port: &str) -> bool {
    port.is_empty()
        || port
            .strip_prefix(':')
            .is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
}

fn has_valid_escapes(text: &str) -> bool {
    text.split('%').skip(1).all(|after| {
        after
            .as_bytes()
            .get(..2)
            .is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    })
}

/// Returns whether Go accepts `text` as a domain. A constraint may begin with a dot.
pub(super) fn is_domain(text: &str, is_constraint: bool) -> bool {
    if text.is_empty() {
        return true;
    }
    if text.ends_with('.') {
        return false;
    }
    let text = if is_constraint {
        text.strip_prefix('.').unwrap_or(text)
    } else {
        text
    };
    text.split('.')
        .all(|label| !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_graphic()))
}

/// Returns whether `text` is a plain mailbox. Go also accepts quoted ones, which no CA constrains.
pub(super) fn is_mailbox(text: &str) -> bool {
    let is_atom = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&byte);
    text.split_once('@').is_some_and(|(local, domain)| {
        local
            .split('.')
            .all(|part| !part.is_empty() && part.bytes().all(is_atom))
            && !domain.contains('@')
            && is_domain(domain, false)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_uris_that_go_takes() {
        for uri in [
            "spiffe://cluster.local/ns/a",
            "https://a:443/b?c=%zz#d",
            "mailto:a@b",
            "a/b",
            "/a:b",
            "urn:uuid:1",
            "https://[::1]:80/",
            "",
            "http://user:x@host/",
            "//host/a",
        ] {
            assert!(is_uri(uri), "{uri}");
        }
        for uri in [
            ":a",
            "a b:c/d:",
            "https://a b/",
            "https://a%zz/",
            "https://a/%zz",
            "https://a:b/",
            "https://a./",
            "https://a..b/",
            "a\u{7f}",
            "1a:b",
            "https://[::1",
            "a#%1",
        ] {
            assert!(!is_uri(uri), "{uri}");
        }
    }

    #[test]
    fn takes_the_constraints_that_go_takes() {
        assert!(is_domain(".example.com", true));
        assert!(!is_domain("example.com.", true));
        assert!(!is_domain("a b", true));
        assert!(is_mailbox("a.b@example.com"));
        assert!(!is_mailbox("a..b@example.com"));
        assert!(!is_mailbox("@example.com"));
    }
}
