//! etcd-manager's `/state`: which cluster this volume belongs to, and which etcd it runs.
//!
//! Source: etcd-manager, `pkg/apis/etcd/etcdapi.proto` (`EtcdState`, `EtcdCluster`, `EtcdNode`) and
//! `pkg/etcd/etcdserver.go` (read at start, written without fsync or rename: so it can be torn, and a
//! file of no bytes, which reads as a state without a cluster, is what a crash soon after leaves).

use crate::protobuf::{Fields, Malformed};

/// More than this is no state file of etcd-manager: a node takes some 200 bytes.
pub(crate) const STATE_BYTES_MAX: u64 = 1024 * 1024;

/// What `/state` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    /// None where the volume was never part of a cluster.
    pub(crate) cluster: Option<Cluster>,
    /// `3.5.30`; empty where it isn't said.
    pub(crate) etcd_version: String,
    /// True while a restore or an upgrade keeps clients away.
    pub(crate) quarantined: bool,
}

/// The cluster that `/state` names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cluster {
    /// The name of the directory under `/data`.
    pub(crate) token: String,
    /// Names of the members' nodes, sorted: `etcd-a`, `etcd-events-a`.
    pub(crate) nodes: Vec<String>,
}

impl State {
    pub(crate) fn decode(message: &[u8]) -> Result<Self, Malformed> {
        let mut state = Self::default();
        for field in Fields::new(message) {
            match field? {
                (1, value) => drop(value.varint()?),
                (2, value) => state.cluster = Some(Cluster::decode(value.bytes()?)?),
                (3, value) => value.text()?.clone_into(&mut state.etcd_version),
                (4, value) => state.quarantined = value.varint()? != 0,
                _ => {}
            }
        }
        Ok(state)
    }
}

impl Cluster {
    fn decode(message: &[u8]) -> Result<Self, Malformed> {
        let mut cluster = Self::default();
        for field in Fields::new(message) {
            match field? {
                (1, value) => drop(value.varint()?),
                (5, value) => value.text()?.clone_into(&mut cluster.token),
                (7, value) => cluster.nodes.push(decode_node_name(value.bytes()?)?),
                _ => {}
            }
        }
        cluster.nodes.sort();
        Ok(cluster)
    }
}

fn decode_node_name(message: &[u8]) -> Result<String, Malformed> {
    let mut name = String::new();
    for field in Fields::new(message) {
        match field? {
            (1, value) => value.text()?.clone_into(&mut name),
            (2..=4, value) => drop(value.text()?),
            _ => {}
        }
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATE: &[u8] = b"\x08\x01\x12\x1c\x08\x02\x2a\x04toke\x3a\x08\x0a\x06etcd-b\x3a\x08\x0a\x06etcd-a\x1a\x063.5.30\x20\x01";

    #[test]
    fn a_state_is_read() {
        let state = State::decode(STATE).unwrap();
        assert_eq!(
            state,
            State {
                cluster: Some(Cluster {
                    token: "toke".to_owned(),
                    nodes: vec!["etcd-a".to_owned(), "etcd-b".to_owned()]
                }),
                etcd_version: "3.5.30".to_owned(),
                quarantined: true,
            }
        );
    }

    #[test]
    fn no_bytes_are_a_state_without_a_cluster() {
        assert_eq!(State::decode(b"").unwrap(), State::default());
    }

    #[test]
    fn a_torn_state_is_malformed_or_lacks_its_end() {
        for length in 0..STATE.len() {
            if let Ok(state) = State::decode(&STATE[..length]) {
                assert_ne!(state, State::decode(STATE).unwrap(), "{length}");
            }
        }
    }
}
