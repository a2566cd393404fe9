//! HTTP: the client of all services, and what it connects with.
//!
//! Left to itself, the SDK makes one for each service's client, and reads all root certificates of the
//! machine into a store for each.

use std::time::Duration;

use aws_smithy_async::rt::sleep::default_async_sleep;
use aws_smithy_http_client::Connector;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_runtime_api::client::http::{
    HttpConnectorSettings, SharedHttpClient, SharedHttpConnector, http_client_fn,
};

/// As the SDK has it.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(3100);

/// The client of all services.
pub(crate) fn client() -> SharedHttpClient {
    let settings = HttpConnectorSettings::builder().connect_timeout(CONNECT_TIMEOUT);
    let connector = connector(settings.build());
    http_client_fn(move |_, _| connector.clone())
}

/// Connects as the SDK's own client does: by the machine's root certificates, which are read now, and through
/// the proxy that the environment names.
pub(crate) fn connector(settings: HttpConnectorSettings) -> SharedHttpConnector {
    let mut connector = Connector::builder()
        .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
        .proxy_config(ProxyConfig::from_env())
        .connector_settings(settings);
    connector.set_sleep_impl(default_async_sleep());
    SharedHttpConnector::new(connector.build())
}
