//! Opens a bucket of an S3 store.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use object_store::aws::AmazonS3Builder;

use super::Store;
use super::signer::Signer;
use super::upload::Upload;
use crate::bucket::connector::{Peer, Reach, StoreClient, describe};
use crate::bucket::credentials::identity::no_retries;
use crate::bucket::credentials::{AwsCredentials, CustomerKey};
use crate::bucket::error::ErrorKind;
use crate::bucket::protocol::Protocol;
use crate::bucket::settings::BucketSettings;
use crate::bucket::settings::aws::{AwsSettings, Checksum, Encryption};

/// The region of a bucket that no one names.
const USUAL_REGION: &str = "us-east-1";

/// Opens a bucket. Sends no request, unless nobody names its region: then the store is asked for that.
pub(super) async fn open(
    settings: &Arc<BucketSettings>,
    aws: &AwsSettings,
    credentials: &AwsCredentials,
    reach: &Reach,
) -> Result<Store, ErrorKind> {
    // For AWS itself the plugin asks for the bucket's region, whatever the profile says.
    let of_profile = || credentials.region.clone().filter(|_| aws.has_url());
    let named = aws.region.clone().or_else(of_profile);
    let in_region = |region: &str| in_region(settings, aws, credentials, reach.clone(), region);
    if let Some(region) = named {
        return in_region(&region);
    }
    let store = in_region(USUAL_REGION)?;
    match store.list_page(&settings.folder(), 1, None).await {
        Err(ErrorKind::WrongRegion {
            expected: Some(region),
            ..
        }) => in_region(&region),
        // A store looks at the region before the rights.
        Ok(_) | Err(ErrorKind::AccessDenied { .. }) => Ok(store),
        Err(kind) => Err(kind),
    }
}

fn in_region(
    settings: &Arc<BucketSettings>,
    aws: &AwsSettings,
    credentials: &AwsCredentials,
    reach: Reach,
    region: &str,
) -> Result<Store, ErrorKind> {
    let url = aws.url(&settings.bucket, region)?;
    let region = region.to_owned();
    let protocol = Protocol::S3 {
        region: region.clone(),
    };
    let client = StoreClient::new(&settings.namespace, reach, Peer::Store(protocol.clone()))?;
    let builder = AmazonS3Builder::new()
        .with_bucket_name(&settings.bucket)
        .with_region(&region)
        // The URL is the bucket's own, wherever the bucket is in it.
        .with_endpoint(url.as_str())
        .with_virtual_hosted_style_request(true)
        .with_allow_http(!url.is_https)
        .with_credentials(Arc::clone(&credentials.provider))
        .with_disable_bulk_delete(true)
        .with_retry(no_retries())
        .with_http_connector(client.clone());
    let builder = encrypting(builder, &aws.encryption, credentials.customer_key.as_ref());
    let builder = match aws.checksum {
        None => builder,
        Some(Checksum::Sha256) => {
            builder.with_checksum_algorithm(object_store::aws::Checksum::SHA256)
        }
        Some(Checksum::Crc64Nvme) => {
            builder.with_checksum_algorithm(object_store::aws::Checksum::CRC64NVME)
        }
    };
    Ok(Store {
        objects: Arc::new(builder.build().map_err(|error| describe(&error))?),
        settings: Arc::clone(settings),
        list_url: url.clone(),
        upload: Upload::Put(&[]),
        url,
        protocol,
        client,
        signer: Signer::S3 {
            credentials: Arc::clone(&credentials.provider),
            region,
        },
    })
}

fn encrypting(
    builder: AmazonS3Builder,
    encryption: &Encryption,
    customer_key: Option<&CustomerKey>,
) -> AmazonS3Builder {
    match encryption {
        Encryption::Bucket => builder,
        // The variant of this key is not public.
        Encryption::Algorithm(name) => match "aws_server_side_encryption".parse() {
            Ok(key) => builder.with_config(key, *name),
            Err(_) => builder,
        },
        Encryption::Kms { key_id } => builder.with_sse_kms_encryption(key_id),
        Encryption::CustomerKey(_) => match customer_key {
            Some(CustomerKey(key)) => builder.with_ssec_encryption(STANDARD.encode(key)),
            None => builder,
        },
    }
}
