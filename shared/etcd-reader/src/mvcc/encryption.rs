//! Which Secrets are encrypted at rest, and by what: a restore needs the same provider and key.
//!
//! Source: kube-apiserver, `EncryptionConfiguration`: values begin with
//! `k8s:enc:<provider>:v<version>:<key name>:`.

use std::collections::BTreeMap;

use serde::Serialize;

use super::objects::is_secret;

/// Providers and keys that are told apart; more are counted, not named.
const PROVIDERS_MAX: usize = 32;
/// Longer names are no names of keys in a configuration.
const NAME_BYTES_MAX: usize = 64;

/// How the stored revisions of Secrets are encrypted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct SecretsEncryption {
    /// Revisions of Secrets that the database holds.
    pub revisions: u64,
    /// How many of them are encrypted.
    pub encrypted: u64,
    /// By what they are encrypted.
    pub providers: Vec<SecretsProvider>,
}

/// A provider and key that encrypted Secrets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct SecretsProvider {
    /// `aescbc`, `secretbox`, `kms`, …
    pub provider: String,
    /// The key's name in the API server's `EncryptionConfiguration`.
    pub key_name: String,
    /// Revisions of Secrets that it encrypted.
    pub revisions: u64,
}

#[derive(Default)]
pub(super) struct EncryptionCount {
    revisions: u64,
    encrypted: u64,
    providers: BTreeMap<(String, String), u64>,
}

impl EncryptionCount {
    pub(super) fn add(&mut self, key: &[u8], value: &[u8]) {
        if !is_secret(key) {
            return;
        }
        self.revisions += 1;
        let Some(rest) = value.strip_prefix(b"k8s:enc:") else {
            return;
        };
        self.encrypted += 1;
        if let Some(by) = provider(rest)
            && (self.providers.len() < PROVIDERS_MAX || self.providers.contains_key(&by))
        {
            *self.providers.entry(by).or_default() += 1;
        }
    }

    pub(super) fn finish(self) -> SecretsEncryption {
        let providers = self
            .providers
            .into_iter()
            .map(|((provider, key_name), revisions)| SecretsProvider {
                provider,
                key_name,
                revisions,
            });
        SecretsEncryption {
            revisions: self.revisions,
            encrypted: self.encrypted,
            providers: providers.collect(),
        }
    }
}

/// Only what looks like names: what follows in the value is never told.
fn provider(rest: &[u8]) -> Option<(String, String)> {
    let mut parts = rest
        .get(..rest.len().min(3 * NAME_BYTES_MAX))?
        .splitn(4, |&byte| byte == b':');
    let mut name = || {
        let part = std::str::from_utf8(parts.next()?).ok()?;
        let valid = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        (part.len() <= NAME_BYTES_MAX && !part.is_empty() && part.bytes().all(valid))
            .then(|| part.to_owned())
    };
    let (provider, version, key_name) = (name()?, name()?, name()?);
    // Without a fourth part, the third isn't ended by a colon, so it is no name.
    parts.next()?;
    version.starts_with('v').then_some((provider, key_name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encrypted_secrets_are_counted_by_provider_and_key() {
        let mut count = EncryptionCount::default();
        count.add(b"/registry/secrets/a/b", b"k8s:enc:aescbc:v1:key1:\x00\x01");
        count.add(b"/registry/secrets/a/c", b"k8s:enc:kms:v2:vault:\x00");
        count.add(b"/registry/secrets/a/d", b"k8s\x00plain");
        count.add(
            b"/registry/configmaps/a/d",
            b"k8s:enc:aescbc:v1:key1:\x00\x01",
        );
        count.add(b"/registry/secrets/a/e", b"k8s:enc:\xff\xfe");
        let result = count.finish();
        assert_eq!((result.revisions, result.encrypted), (4, 3));
        let named: Vec<_> = result
            .providers
            .iter()
            .map(|p| (p.provider.as_str(), p.key_name.as_str(), p.revisions))
            .collect();
        assert_eq!(named, [("aescbc", "key1", 1), ("kms", "vault", 1)]);
    }

    #[test]
    fn what_is_no_name_is_not_told() {
        for value in [
            &b"aescbc:v1:secretwithoutend"[..],
            b"aescbc:v1:\x01\x02:",
            b"aescbc:x1:key:",
            b"aescbc",
        ] {
            assert_eq!(provider(value), None);
        }
    }
}
