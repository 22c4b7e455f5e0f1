use object_store::StaticCredentialProvider;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::bucket::connector::{Timing, Trust};
use crate::ca::endpoint::DeniedAddresses;
use crate::dial::Proxies;

fn keys(key_id: &str) -> AwsCredential {
    AwsCredential {
        key_id: key_id.to_owned(),
        secret_key: "s".to_owned(),
        token: None,
    }
}

/// A role with keys that are to be renewed, at a service that answers one request with this.
async fn renewing(status: &str, body: &str, end: Instant) -> AssumedRole {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let length = body.len();
    let text = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}");
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 4096];
        // All of the request, which is in one piece.
        let _ = stream.read(&mut request).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
    });
    let role = Role {
        arn: "arn:aws:iam::1:role/r".to_owned(),
        session_name: None,
        external_id: None,
        duration: None,
        endpoint: None,
    };
    let reach = Reach {
        trust: Trust::Everything,
        denied: DeniedAddresses::nothing(),
        proxies: Proxies::default(),
        timing: Timing::default(),
    };
    AssumedRole {
        role,
        proof: Proof::Keys(Arc::new(StaticCredentialProvider::new(keys("source")))),
        url,
        region: "r1".to_owned(),
        pauses: reach.timing.pauses,
        client: StoreClient::new("", reach, Peer::Identity).unwrap(),
        state: Mutex::new(State {
            kept: Some(Kept {
                keys: Arc::new(keys("old")),
                renewal: Instant::now(),
                end,
            }),
            failure: None,
        }),
    }
}

fn in_a_minute() -> Instant {
    Instant::now() + Duration::from_mins(1)
}

#[tokio::test]
async fn keys_are_renewed_before_they_end_and_kept_no_longer_than_was_asked_for() {
    let answer = "<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>k</AccessKeyId>\
        <SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken>\
        <Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult>\
        </AssumeRoleResponse>";
    let role = renewing("200 OK", answer, in_a_minute()).await;
    for _ in 0..2 {
        assert_eq!(role.keys().await.unwrap().key_id, "k");
    }
    let state = role.state.lock().await;
    let kept = state.kept.as_ref().unwrap();
    assert!(kept.end <= Instant::now() + Duration::from_mins(15));
    assert_eq!(kept.end - kept.renewal, RENEWAL);
}

#[tokio::test]
async fn keys_that_cannot_be_renewed_are_used_until_they_end() {
    let body = "<ErrorResponse><Error><Code>AccessDenied</Code></Error></ErrorResponse>";
    let role = renewing("403 No", body, in_a_minute()).await;
    // There is no second answer.
    for _ in 0..2 {
        assert_eq!(role.keys().await.unwrap().key_id, "old");
    }
    let role = renewing("403 No", body, Instant::now()).await;
    let error = role.keys().await.unwrap_err().to_string();
    assert!(error.contains("(AccessDenied)"), "{error}");
}
