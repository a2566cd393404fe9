//! The clusters that sequences begin with: small ones of every kind, backed up for two days.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use e2e::{Cluster, EmulatedAws, Kops, MountedBy, backed_up_once};
use etcd_backup_core::ids::VolumeId;
use serde_json::{Map, Value, json};

use crate::model::{Action, Event};

/// A cluster in an AWS of its own.
#[derive(Debug)]
pub struct World {
    /// What is special about it.
    pub name: &'static str,
    /// The AWS.
    pub aws: EmulatedAws,
    /// The cluster.
    pub cluster: Cluster,
    /// The options that its events are sent with.
    pub options: Vec<Options>,
    /// Whether its masters start by themselves.
    pub masters_start: bool,
    /// What undo and redo say besides.
    turn_fields: Map<String, Value>,
}

/// The options of an event.
#[derive(Clone, Debug)]
pub struct Options {
    fields: Map<String, Value>,
    /// The members that it is about.
    pub scope: BTreeSet<String>,
    /// Whether it names a time.
    pub is_of_a_time: bool,
}

impl World {
    /// Three masters that the operator takes care of.
    pub async fn three_masters() -> Self {
        let (aws, cluster) =
            backed_up_twice(Kops::new("three.example").etcd_clusters(&["main"])).await;
        let yesterday = aws.clock().await - Duration::from_secs(24 * 3600);
        let options = vec![
            Options::new(&cluster, json!({}), |_| true),
            Options::new(&cluster, json!({"skew_minutes_max": 30}), |_| true),
            Options::new(&cluster, json!({"at": yesterday}), |_| true),
            Options::new(
                &cluster,
                json!({"members": ["b"], "partial": true}),
                |key| key == "main/b",
            ),
        ];
        Self::new("three masters", aws, cluster, options, json!({}))
    }

    /// One master with two etcd clusters, newer tags.
    pub async fn one_master() -> Self {
        let kops = Kops::new("one.example").members(&[("a", "eu-west-2a")]);
        let newest = kops.style(e2e::Style::New {
            control_plane: true,
        });
        let (aws, cluster) = backed_up_twice(newest.encrypted()).await;
        let options = vec![
            Options::new(&cluster, json!({}), |_| true),
            Options::new(&cluster, json!({"etcd_clusters": ["main"]}), |key| {
                key.starts_with("main/")
            }),
            Options::new(
                &cluster,
                json!({"volume": {"type": "io2", "iops": 500}}),
                |_| true,
            ),
        ];
        Self::new("one master", aws, cluster, options, json!({}))
    }

    /// Three masters that are replaced, and mount by etcd-manager.
    pub async fn replaced_masters() -> Self {
        let (aws, cluster) =
            backed_up_twice(Kops::new("replaced.example").etcd_clusters(&["main"])).await;
        aws.start_masters(&cluster, MountedBy::EtcdManager).await;
        let replace = json!({"masters": "replace"});
        let options = vec![
            Options::new(&cluster, replace.clone(), |_| true),
            Options::new(
                &cluster,
                json!({"masters": "replace", "start": "together"}),
                |_| true,
            ),
            Options::new(&cluster, json!({}), |_| true),
        ];
        Self {
            masters_start: true,
            ..Self::new("replaced masters", aws, cluster, options, replace)
        }
    }

    /// Three masters that are replaced, and mount by protokube.
    pub async fn protokube() -> Self {
        let (aws, cluster) =
            backed_up_twice(Kops::old("old.example").etcd_clusters(&["main"])).await;
        aws.start_masters(&cluster, MountedBy::Protokube).await;
        let replace = json!({"masters": "replace"});
        let options = vec![
            Options::new(&cluster, replace.clone(), |_| true),
            Options::new(
                &cluster,
                json!({"masters": "replace", "skew_minutes_max": 30}),
                |_| true,
            ),
        ];
        Self {
            masters_start: true,
            ..Self::new("protokube", aws, cluster, options, replace)
        }
    }

    fn new(
        name: &'static str,
        aws: EmulatedAws,
        cluster: Cluster,
        options: Vec<Options>,
        turn_fields: Value,
    ) -> Self {
        Self {
            name,
            aws,
            cluster,
            options,
            masters_start: false,
            turn_fields: fields(turn_fields),
        }
    }

    /// A copy.
    pub async fn fork(&self) -> Self {
        Self {
            name: self.name,
            aws: self.aws.fork().await,
            cluster: self.cluster.clone(),
            options: self.options.clone(),
            masters_start: self.masters_start,
            turn_fields: self.turn_fields.clone(),
        }
    }

    /// What an event asks for, and the event.
    pub fn event(
        &self,
        action: Action,
        options: usize,
        again: bool,
    ) -> (Event, Map<String, Value>) {
        let options_of_it = &self.options[options];
        let (name, mut event) = match action {
            Action::Restore => ("restore", options_of_it.fields.clone()),
            Action::Undo => ("undo", self.turn_fields.clone()),
            Action::Redo => ("redo", self.turn_fields.clone()),
        };
        event.insert("cluster".to_owned(), json!(self.cluster.name()));
        event.insert("action".to_owned(), json!(name));
        if again {
            event.insert("again".to_owned(), json!(true));
        }
        let asked = Event {
            action,
            options,
            again,
            scope: options_of_it.scope.clone(),
        };
        (asked, event)
    }

    /// The volumes that it began with.
    pub fn seeded(&self) -> BTreeMap<String, VolumeId> {
        self.cluster.volumes_by_name()
    }
}

impl Options {
    fn new(cluster: &Cluster, more: Value, is_of: impl Fn(&str) -> bool) -> Self {
        let members = cluster.volumes_by_name().into_keys();
        Self {
            is_of_a_time: more.get("at").is_some(),
            fields: fields(more),
            scope: members.filter(|key| is_of(key)).collect(),
        }
    }
}

fn fields(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        other => panic!("{other} is no object"),
    }
}

async fn backed_up_twice(kops: Kops) -> (EmulatedAws, Cluster) {
    let (aws, cluster) = backed_up_once(kops).await;
    let morning = e2e::backed_up::next_morning(aws.clock().await);
    aws.set_clock(morning).await;
    (aws, cluster)
}
