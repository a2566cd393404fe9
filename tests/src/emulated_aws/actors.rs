//! Others who change volumes' tags: kops, Terraform, a cleaner of tags.

use etcd_backup_core::Tags;
use etcd_backup_core::ids::VolumeId;
use serde::Serialize;
use serde_json::Value;

use super::EmulatedAws;
use crate::fleet::{Cluster, VOLUME_SIZE_GIB};

/// Who acts, and on what. It does so when it is told to ([`EmulatedAws::act`]), or just before a call
/// ([`Fault::act`](super::Fault::act)).
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "actor", rename_all = "kebab-case")]
pub enum Actor {
    /// `kops update cluster --yes`: finds a volume by `Name` and `KubernetesCluster`, gives it its own
    /// tags and takes off all others; where it finds two, it fails.
    KopsUpdate {
        /// Whether it makes a blank volume where it finds none.
        creates: bool,
        /// What it wants to be there.
        volumes: Vec<WantedVolume>,
    },
    /// `terraform apply`: gives the volumes of its state, found by id, these tags and no others.
    TerraformApply {
        /// The volumes of its state.
        volumes: Vec<DeclaredVolume>,
    },
    /// Takes off all tags with these prefixes, whichever volume they are on.
    TagCleaner {
        /// `etcd-backup/`
        prefixes: Vec<String>,
    },
}

/// A volume as kops wants it.
#[derive(Clone, Debug, Serialize)]
pub struct WantedVolume {
    zone: String,
    size: i32,
    tags: Tags,
}

/// A volume as Terraform's configuration has it.
#[derive(Clone, Debug, Serialize)]
pub struct DeclaredVolume {
    id: VolumeId,
    tags: Tags,
}

impl Actor {
    /// kops, as it knows the cluster.
    pub fn kops_update(cluster: &Cluster, creates: bool) -> Self {
        let wanted = cluster.volumes.keys().map(|key| WantedVolume {
            zone: cluster.zone(key.member.as_str()).to_owned(),
            size: VOLUME_SIZE_GIB,
            tags: declared_tags(cluster, key),
        });
        Self::KopsUpdate {
            creates,
            volumes: wanted.collect(),
        }
    }

    /// Terraform, whose state holds the volumes that the cluster was seeded with.
    pub fn terraform_apply(cluster: &Cluster) -> Self {
        let declared = cluster.volumes.iter().map(|(key, id)| DeclaredVolume {
            id: id.clone(),
            tags: declared_tags(cluster, key),
        });
        Self::TerraformApply {
            volumes: declared.collect(),
        }
    }

    /// Terraform, after the restored volumes were imported in the place of the seeded ones: it takes
    /// off their tags whatever it doesn't know.
    pub fn terraform_apply_to(
        cluster: &Cluster,
        volumes: &std::collections::BTreeMap<String, VolumeId>,
    ) -> Self {
        let declared = cluster.volumes.keys().filter_map(|key| {
            let id = volumes.get(&key.to_string())?.clone();
            let tags = declared_tags(cluster, key);
            Some(DeclaredVolume { id, tags })
        });
        Self::TerraformApply {
            volumes: declared.collect(),
        }
    }

    /// A cleaner that knows nothing of what this project writes.
    pub fn tag_cleaner() -> Self {
        Self::TagCleaner {
            prefixes: vec!["etcd-backup/".to_owned()],
        }
    }
}

fn declared_tags(cluster: &Cluster, key: &etcd_backup_core::ids::MemberKey) -> Tags {
    let (etcd_cluster, member) = (key.etcd_cluster.as_str(), key.member.as_str());
    cluster.kops.volume_tags(etcd_cluster, member)
}

impl EmulatedAws {
    /// Has somebody else act now.
    pub async fn act(&self, actor: &Actor) {
        self.post::<Value>("actors", actor).await;
    }
}
