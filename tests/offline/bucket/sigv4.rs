//! Verifies the signature of a request, as AWS documents it (Signature Version 4). It shares nothing with what
//! signs.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac::{self, HMAC_SHA256, Key};

/// Verifies that `request` to `service`, without a query, is signed with `secret`. Returns the access key.
pub(super) fn verify(request: &str, secret: &str, region: &str, service: &str) -> String {
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    let (first, lines) = head.split_once("\r\n").unwrap();
    let mut words = first.split(' ');
    let (method, path) = (words.next().unwrap(), words.next().unwrap());
    let header = |name: &str| {
        let headers = lines.split("\r\n").filter_map(|line| line.split_once(": "));
        let mut found = headers.filter(|(key, _)| key.eq_ignore_ascii_case(name));
        found.next().unwrap().1
    };
    let fields = header("authorization");
    let fields = fields.strip_prefix("AWS4-HMAC-SHA256 ").unwrap();
    let field = |name: &str| {
        let mut fields = fields.split(", ").filter_map(|field| field.split_once('='));
        fields.find(|(key, _)| *key == name).unwrap().1
    };
    let time = header("x-amz-date");
    let day = time.get(..8).unwrap();
    let scope = format!("{day}/{region}/{service}/aws4_request");
    let (key_id, given) = field("Credential").split_once('/').unwrap();
    assert_eq!(given, scope);
    let names = field("SignedHeaders");
    assert!(names.split(';').any(|name| name == "host"), "{names}");
    let headers = names
        .split(';')
        .map(|name| format!("{name}:{}\n", header(name).trim()));
    let headers: String = headers.collect();
    let payload = hex(digest(&SHA256, body.as_bytes()).as_ref());
    let canonical = format!("{method}\n{path}\n\n{headers}\n{names}\n{payload}");
    let canonical = hex(digest(&SHA256, canonical.as_bytes()).as_ref());
    let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{canonical}");
    let mut key = format!("AWS4{secret}").into_bytes();
    for part in [day, region, service, "aws4_request"] {
        key = sign(&key, part);
    }
    assert_eq!(field("Signature"), hex(&sign(&key, &text)), "{request}");
    key_id.to_owned()
}

fn sign(key: &[u8], text: &str) -> Vec<u8> {
    let key = Key::new(HMAC_SHA256, key);
    hmac::sign(&key, text.as_bytes()).as_ref().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    let add = |text: String, byte: &u8| format!("{text}{byte:02x}");
    bytes.iter().fold(String::new(), add)
}
