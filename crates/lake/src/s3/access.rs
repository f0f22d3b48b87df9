//! Credentials and signatures: the library's chain and its authorizer, around requests of our own.

use std::time::Duration;

use http::{HeaderMap, Method, Request};
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey, AwsAuthorizer, AwsCredentialProvider};
use object_store::client::HttpRequestBody;
use object_store::{BackoffConfig, RetryConfig};

/// Fetching credentials from a metadata service must not outlast a person's patience when there is none.
const CREDENTIALS_WITHIN: Duration = Duration::from_secs(5);

pub(crate) enum Access {
    /// A public bucket: `AWS_SKIP_SIGNATURE=true`.
    Anonymous,
    Signed {
        credentials: AwsCredentialProvider,
    },
}

impl Access {
    pub(crate) fn of(bucket: &str, settings: AmazonS3Builder) -> Result<Access, String> {
        let skip = settings.get_config_value(&AmazonS3ConfigKey::SkipSignature);
        if skip.is_some_and(|value| value.eq_ignore_ascii_case("true") || value == "1") {
            return Ok(Access::Anonymous);
        }
        let retry = RetryConfig { backoff: BackoffConfig::default(), max_retries: 2, retry_timeout: CREDENTIALS_WITHIN };
        let store: AmazonS3 = settings.with_bucket_name(bucket).with_retry(retry).build().map_err(|error| error.to_string())?;
        Ok(Access::Signed { credentials: store.credentials().clone() })
    }

    /// Adds what proves who asks. `headers` must hold every header that matters, so that nobody can change one on the way.
    pub(crate) async fn sign(
        &self,
        service: &str,
        method: &Method,
        url: &str,
        headers: &mut HeaderMap,
        sha256: &[u8],
        region: &str,
    ) -> Result<(), String> {
        let Access::Signed { credentials } = self else { return Ok(()) };
        let credential = credentials.get_credential().await.map_err(|error| no_credentials(&error))?;
        let mut request = Request::new(HttpRequestBody::empty());
        *request.method_mut() = method.clone();
        *request.uri_mut() = url.parse().map_err(|error: http::uri::InvalidUri| error.to_string())?;
        std::mem::swap(request.headers_mut(), headers);
        let signed = AwsAuthorizer::new(&credential, service, region).try_authorize(&mut request, Some(sha256));
        std::mem::swap(request.headers_mut(), headers);
        signed.map_err(|error| error.to_string())
    }
}

fn no_credentials(error: &object_store::Error) -> String {
    format!(
        "no credentials could be had: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or AWS_PROFILE, \
         or AWS_SKIP_SIGNATURE=true for a public bucket (last tried: {error})"
    )
}
