//! The tokens of other clouds: from whom they are asked, and to whom they go. What the stores themselves do
//! is shown with emulators, in `tests/real/azure.rs` and `tests/real/gcs.rs`.

use std::env;
use std::fs;
use std::process::Command;

use object_store::azure::AzureCredential;
use serde_json::{Value, json};
use velero_trust::bucket::{
    BucketSettings, Credentials, CredentialsError, Error, Identity as _, NoIdentity,
    ProviderSettings, Store,
};
use velero_trust::velero::bsl::Bsl;

use super::environment::{Installed, own};
use super::identity::token_file;
use super::server::{Act, Server, answer};
use super::{header, reach};

/// A store that is not there.
const NOWHERE: &str = "https://127.0.0.1:1";

fn settings(provider: &str, config: &Value) -> BucketSettings {
    let spec = json!({"provider": provider, "objectStorage": {"bucket": "bkt"}, "config": config});
    let text = json!({"spec": spec}).to_string();
    BucketSettings::read("velero", &Bsl::from_json(&text)).unwrap()
}

/// Lists a container with the token of a service principal, which the login service at `port` gives.
async fn list_as_service_principal(port: u16) -> Error {
    let config = json!({"storageAccount": "acct", "storageAccountURI": NOWHERE, "useAAD": "true"});
    let mut settings = settings("azure", &config);
    let ProviderSettings::Azure(azure) = &mut settings.provider else {
        panic!("{settings:?}");
    };
    azure.authority = Some(format!("http://127.0.0.1:{port}"));
    let file = "AZURE_TENANT_ID=ten-1\nAZURE_CLIENT_ID=id-1\nAZURE_CLIENT_SECRET=top-secret\n";
    let identity = NoIdentity(CredentialsError::NoKeys);
    let credentials = Credentials::read(&settings, &Installed(Some(file)), &identity).await;
    let store = Store::open(settings, credentials.unwrap(), reach()).await;
    store.unwrap().list("b").await.unwrap_err()
}

#[tokio::test]
async fn the_login_service_gives_a_service_principal_its_token() {
    let token = answer(
        200,
        "",
        r#"{"access_token": "tok", "expires_in": 3600, "token_type": "Bearer"}"#,
    );
    let login = Server::start([Act::Send(token)]).await;
    // The token is there, and the store is not.
    let error = list_as_service_principal(login.port).await;
    assert_eq!(error.reason(), "Unreachable", "{error}");
    let asked = login.asked();
    assert!(
        asked[0].starts_with("POST /ten-1/oauth2/v2.0/token "),
        "{}",
        asked[0]
    );
    for part in [
        "client_id=id-1",
        "client_secret=top-secret",
        "grant_type=client_credentials",
        "scope=https%3A%2F%2Fstorage.azure.com%2F.default",
    ] {
        assert!(asked[0].contains(part), "{part}: {}", asked[0]);
    }
}

#[tokio::test]
async fn a_token_that_is_refused_is_told_with_its_code_and_without_the_secret() {
    let body = r#"{"error": "invalid_client",
        "error_description": "AADSTS7000215: Invalid client secret provided: top-secret"}"#;
    let login = Server::start([Act::Send(answer(401, "", body))]).await;
    let error = list_as_service_principal(login.port).await;
    assert_eq!(error.reason(), "NoCredentials");
    let text = format!("{error} {error:?}");
    assert!(
        text.contains("401 AADSTS7000215") && text.contains("AZURE_CLIENT_SECRET"),
        "{text}"
    );
    assert!(!text.contains("top-secret"), "{text}");
}

#[tokio::test]
async fn a_workload_identity_is_exchanged_where_the_environment_says() {
    let token = answer(200, "", r#"{"access_token": "tok", "expires_in": 3600}"#);
    let bad = answer(200, "", r#"{"access_token": "a\nb", "expires_in": 3600}"#);
    let login = Server::start([Act::Send(token), Act::Send(bad)]).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    fs::write(&file, "pod-token").unwrap();
    let host = format!("http://127.0.0.1:{}/", login.port);
    let variables = [
        ("AZURE_FEDERATED_TOKEN_FILE", file.to_str().unwrap()),
        ("AZURE_CLIENT_ID", "id-1"),
        ("AZURE_TENANT_ID", "ten-1"),
        ("AZURE_AUTHORITY_HOST", &host),
    ];
    let provider = own(&variables).azure(Some("ignored")).unwrap();
    for _ in 0..2 {
        let token = provider.get_credential().await.unwrap();
        assert_eq!(*token, AzureCredential::BearerToken("tok".into()));
    }
    let asked = login.asked();
    assert_eq!(asked.len(), 1);
    assert!(
        asked[0].starts_with("POST /ten-1/oauth2/v2.0/token "),
        "{}",
        asked[0]
    );
    for part in [
        "client_assertion=pod-token",
        "client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer",
        "client_id=id-1",
        "grant_type=client_credentials",
        "scope=https%3A%2F%2Fstorage.azure.com%2F.default",
    ] {
        assert!(asked[0].contains(part), "{part}: {}", asked[0]);
    }
    // Such a token would make the signer panic.
    let provider = own(&variables).azure(None).unwrap();
    let error = provider.get_credential().await.unwrap_err();
    assert!(format!("{error:?}").contains("Characters"), "{error:?}");
    let missing = own(&variables[..2]).azure(None).unwrap_err();
    assert!(
        missing.to_string().contains("AZURE_TENANT_ID is not set"),
        "{missing}"
    );
}

#[tokio::test]
async fn a_workload_identity_that_is_refused_is_told_with_its_code_and_without_the_token() {
    let body = r#"{"error": "invalid_request", "error_description": "AADSTS70021: No matching federated
        identity record found for presented assertion pod-token"}"#;
    let login = Server::start([Act::Send(answer(401, "", body))]).await;
    let (_folder, file) = token_file();
    let host = format!("http://127.0.0.1:{}/", login.port);
    let variables = [
        ("AZURE_FEDERATED_TOKEN_FILE", file.as_str()),
        ("AZURE_CLIENT_ID", "id-1"),
        ("AZURE_TENANT_ID", "ten-1"),
        ("AZURE_AUTHORITY_HOST", &host),
    ];
    let error = own(&variables).azure(None).unwrap().get_credential().await;
    let text = format!("{:?}", error.unwrap_err());
    assert!(
        text.contains("its service answers 401 AADSTS70021"),
        "{text}"
    );
    assert!(!text.contains("pod-token"), "{text}");
}

/// The variable with the address of the metadata server, which only another process can have.
const METADATA: &str = "GCE_METADATA_HOST";

/// Asks for the token of the own identity in a process with a metadata server that does `act`. Returns what it
/// says, and what the server was asked for.
async fn token_of_gke(act: Act) -> (String, String) {
    let server = Server::start([act]).await;
    let address = format!("127.0.0.1:{}", server.port);
    let mut process = Command::new(env::current_exe().unwrap());
    process
        .args(["--exact", "bucket::clouds::as_a_pod_of_gke", "--nocapture"])
        .env(METADATA, &address)
        // The second address that is asked if the first one fails.
        .env("GCE_METADATA_IP", "127.0.0.1:1");
    let ran = tokio::task::spawn_blocking(move || process.output());
    let output = ran.await.unwrap().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    (text, server.asked().remove(0))
}

/// Run by the tests below in a process of its own.
#[tokio::test]
async fn as_a_pod_of_gke() {
    if env::var_os(METADATA).is_some() {
        let token = own(&[]).gcp().unwrap().get_credential().await;
        println!("{:?}", token.map(|token| token.bearer.clone()));
    }
}

#[tokio::test]
async fn the_metadata_server_gives_the_token_of_a_workload_identity() {
    let token = r#"{"access_token": "tok", "expires_in": 3599, "token_type": "Bearer"}"#;
    let (said, asked) = token_of_gke(Act::Send(answer(200, "", token))).await;
    assert!(said.contains(r#"Ok("tok")"#), "{said}");
    let path = "GET /computeMetadata/v1/instance/service-accounts/default/token";
    assert!(asked.starts_with(path), "{asked}");
    assert_eq!(header(&asked, "metadata-flavor"), Some("Google"));
    let bad = r#"{"access_token": "a\nb", "expires_in": 3599, "token_type": "Bearer"}"#;
    let (said, _) = token_of_gke(Act::Send(answer(200, "", bad))).await;
    assert!(said.contains("Characters"), "{said}");
}

#[tokio::test]
async fn a_managed_identity_is_the_one_of_the_credentials() {
    let token = r#"{"access_token": "tok", "expires_on": "4102444800"}"#;
    let machine = Server::start([Act::Send(answer(200, "", token))]).await;
    let endpoint = format!("http://127.0.0.1:{}/token", machine.port);
    let identity = own(&[("IDENTITY_ENDPOINT", &endpoint), ("AZURE_CLIENT_ID", "pod")]);
    let provider = identity.azure(Some("named")).unwrap();
    let token = provider.get_credential().await.unwrap();
    assert_eq!(*token, AzureCredential::BearerToken("tok".into()));
    let asked = machine.asked();
    assert!(asked[0].contains("client_id=named"), "{}", asked[0]);
    assert_eq!(header(&asked[0], "metadata"), Some("true"));
}

/// Whoever writes a BSL chooses the host of the store.
#[tokio::test]
async fn the_token_of_the_own_identity_goes_to_the_cloud_only() {
    for (provider, setting, config) in [
        (
            "azure",
            "storageAccountURI",
            json!({"storageAccount": "acct", "useAAD": "true", "storageAccountURI": NOWHERE}),
        ),
        ("gcp", "storeEndpoint", json!({"storeEndpoint": NOWHERE})),
    ] {
        let settings = settings(provider, &config);
        let identity = own(&[]);
        let credentials = Credentials::read(&settings, &Installed(None), &identity).await;
        let error = Store::open(settings, credentials.unwrap(), reach())
            .await
            .unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains(setting) && text.contains("own identity"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn no_token_is_sent_without_tls() {
    let config = json!({
        "storageAccount": "acct", "useAAD": "true", "storageAccountURI": "http://127.0.0.1:1/acct",
    });
    let file = "AZURE_TENANT_ID=t\nAZURE_CLIENT_ID=i\nAZURE_CLIENT_SECRET=s\n";
    let settings = settings("azure", &config);
    let identity = NoIdentity(CredentialsError::NoKeys);
    let credentials = Credentials::read(&settings, &Installed(Some(file)), &identity).await;
    let error = Store::open(settings, credentials.unwrap(), reach())
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("no token is sent without TLS"),
        "{error}"
    );
}
