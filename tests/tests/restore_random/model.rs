//! What restores are expected to come to: a model of the cluster that knows volumes by their ids and
//! nothing of tags, records or calls.
//!
//! Invariants: the model says what may happen before it happens; what then happened is taken over only if
//! it is one of these. Where the product may choose, as after a loss in the middle of a restore, it says
//! so by allowing several ends, and each of them is checked for what it leaves.

use std::collections::{BTreeMap, BTreeSet};

use etcd_backup_core::ids::VolumeId;
use jiff::Timestamp;

/// A volume for each member (`main/a`); `None` where it was lost.
pub type VolumesByMember = BTreeMap<String, Option<VolumeId>>;

/// How long the same event is answered by its own restore.
const SAME_EVENT_HOURS: i64 = 24;
/// How long `again` counts as said once.
const SAID_ONCE_MINUTES: i64 = 15;
/// The model doesn't know to the second when a restore ended.
const TOLERANCE_SECONDS: i64 = 60;

/// What an event asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// A restore.
    Restore,
    /// Its undo.
    Undo,
    /// The undo's undo.
    Redo,
}

/// An event, by what the model needs to know of it.
#[derive(Clone, Debug)]
pub struct Event {
    /// What it asks for.
    pub action: Action,
    /// Which options; events with the same number are the same.
    pub options: usize,
    /// Whether it says `again`.
    pub again: bool,
    /// The members that these options are about.
    pub scope: BTreeSet<String>,
}

/// How a restore stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Masters find what it brought.
    Done,
    /// Masters find what was there before.
    Undone,
    /// It was interrupted on its way there. `None` where an interrupted undo may not have begun.
    Unfinished(Option<Action>),
}

/// One restore.
#[derive(Clone, Debug)]
pub struct Restore {
    /// Its id.
    pub id: String,
    /// The options of the event that began it.
    pub options: usize,
    /// Whether that said `again`.
    pub again: bool,
    /// What was there when it began.
    pub outgoing: VolumesByMember,
    /// What it brought, once that is known.
    pub incoming: Option<BTreeMap<String, VolumeId>>,
    /// How it stands.
    pub state: State,
    /// When its last turn ended.
    pub ended_at: Option<Timestamp>,
    /// Whether a volume was lost while it was unfinished.
    pub met_a_loss: bool,
}

/// How an event may end.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// The newest restore is done already: its answer again, and nothing changes.
    DoneBefore,
    /// It is undone already.
    UndoneBefore,
    /// A new restore, done.
    NewRestore,
    /// The newest restore's volumes come into service.
    Done,
    /// What was there before it is in service again.
    Undone,
    /// Refused by one of these names; nothing changes.
    Refused(&'static [&'static str]),
    /// Given up by an error of these names, at a point from which the same event goes on.
    Failed(&'static [&'static str]),
}

/// The cluster.
#[derive(Clone, Debug)]
pub struct Model {
    /// What masters should find.
    pub in_service: VolumesByMember,
    /// All restores, oldest first.
    pub restores: Vec<Restore>,
    /// Volumes that are gone.
    pub lost: BTreeSet<VolumeId>,
    /// Retired volumes that somebody tagged as if they were in service.
    pub tagged_again: BTreeMap<String, VolumeId>,
}

impl Model {
    /// Nothing was restored yet.
    pub fn new(volumes: BTreeMap<String, VolumeId>) -> Self {
        Self {
            in_service: volumes
                .into_iter()
                .map(|(key, id)| (key, Some(id)))
                .collect(),
            restores: Vec::new(),
            lost: BTreeSet::new(),
            tagged_again: BTreeMap::new(),
        }
    }

    /// The newest restore.
    pub fn newest(&self) -> Option<&Restore> {
        self.restores.last()
    }

    /// The newest restore, if it has not ended.
    pub fn unfinished(&self) -> Option<&Restore> {
        self.newest()
            .filter(|newest| matches!(newest.state, State::Unfinished(_)))
    }

    /// All the ends that an event may come to.
    pub fn may_end(&self, asked: &Event, now: Timestamp) -> BTreeSet<End> {
        match asked.action {
            Action::Restore => self.restore_may_end(asked, now),
            Action::Undo => self.undo_may_end(),
            Action::Redo => self.redo_may_end(),
        }
    }

    fn restore_may_end(&self, asked: &Event, now: Timestamp) -> BTreeSet<End> {
        let in_progress = End::Refused(&["RestoreInProgress"]);
        let mut ends = BTreeSet::new();
        if let Some(unfinished) = self.unfinished()
            && let Restore {
                state: State::Unfinished(action),
                options,
                met_a_loss,
                ..
            } = unfinished
        {
            let (must_be_stuck, may_be_stuck) = self.is_stuck(unfinished);
            if may_be_stuck {
                ends.insert(End::NewRestore);
                // What somebody tagged while it was under way is in the way of a new one.
                ends.insert(End::Refused(&["MemberDuplicated", "VolumeTagWrong"]));
            }
            if must_be_stuck {
                return ends;
            }
            let is_its_event = *options == asked.options;
            if is_its_event && *action != Some(Action::Undo) {
                ends.insert(End::Done);
                if *met_a_loss
                    || !self.tagged_again.is_empty()
                    || self.has_unknown_beside(unfinished)
                {
                    ends.insert(End::Failed(&[
                        "VolumeFailed",
                        "CandidatesWrong",
                        "VolumeTagWrong",
                    ]));
                }
            }
            if !is_its_event || *action != Some(Action::Restore) {
                ends.insert(in_progress);
            }
            return ends;
        }
        let found = self.should_be_found();
        let mut in_scope = asked.scope.iter().filter_map(|member| found.get(member));
        let is_doubled = in_scope.any(|volumes| volumes.len() > 1);
        let anew = if is_doubled {
            End::Refused(&["MemberDuplicated", "VolumeTagWrong"])
        } else {
            End::NewRestore
        };
        let before = self
            .newest()
            .filter(|newest| newest.options == asked.options && self.is_found(newest));
        let within = |restore: &Restore, minutes: i64| match restore.ended_at {
            None => (false, false),
            Some(ended_at) => {
                let seconds = now.as_second() - ended_at.as_second() - minutes * 60;
                (seconds < TOLERANCE_SECONDS, seconds > -TOLERANCE_SECONDS)
            }
        };
        let (may_be_same, may_be_new) = match before {
            Some(newest) if !asked.again => within(newest, SAME_EVENT_HOURS * 60),
            Some(newest) if newest.again => within(newest, SAID_ONCE_MINUTES),
            _ => (false, true),
        };
        if may_be_same {
            ends.insert(End::DoneBefore);
        }
        if may_be_new {
            ends.insert(anew);
            if self.has_lost_an_etcd_cluster(&asked.scope) {
                ends.insert(End::Refused(&["RestorePointDoubtful"]));
            }
        }
        ends
    }

    /// Whether an etcd cluster has no volume left. Whether it lost them together with the others, or long
    /// before the newest snapshots of these, the model doesn't know.
    fn has_lost_an_etcd_cluster(&self, scope: &BTreeSet<String>) -> bool {
        let mut has_volumes = BTreeMap::<&str, bool>::new();
        for member in scope {
            let etcd_cluster = member.split('/').next().unwrap_or_default();
            let is_there = self.in_service.get(member).is_some_and(Option::is_some);
            *has_volumes.entry(etcd_cluster).or_default() |= is_there;
        }
        has_volumes.values().any(|has| !has)
    }

    /// Whether what is unfinished must be, or may be, such that it can go neither on nor back, so that a new
    /// restore takes its place. A restore itself may be if it met a loss: what it brings isn't made anew once
    /// its exchange has begun, and where it failed before that, another event may take its place.
    fn is_stuck(&self, unfinished: &Restore) -> (bool, bool) {
        let action = match unfinished.state {
            State::Unfinished(action) => action,
            State::Done | State::Undone => return (false, false),
        };
        let is_restore = action == Some(Action::Restore);
        let cannot_return = unfinished.outgoing.values().any(|volume| match volume {
            Some(volume) => self.lost.contains(volume),
            None => action == Some(Action::Redo),
        });
        let incoming = unfinished.incoming.as_ref();
        let is_lost = |incoming: &BTreeMap<String, VolumeId>| {
            incoming.values().any(|volume| self.lost.contains(volume))
        };
        let is_incoming_lost = incoming.is_some_and(is_lost);
        if is_restore {
            return (false, cannot_return && unfinished.met_a_loss);
        }
        let must_be = action.is_some() && cannot_return && is_incoming_lost;
        (
            must_be,
            cannot_return && (is_incoming_lost || incoming.is_none()),
        )
    }

    /// The newest restore, and what it says that it took out of service: where an unfinished one was given
    /// up for it, only that tells what was in service.
    pub fn took(&mut self, outgoing: VolumesByMember) {
        let newest = self.restores.last_mut().expect("a restore began");
        newest.outgoing = outgoing;
    }

    fn undo_may_end(&self) -> BTreeSet<End> {
        let Some(newest) = self.newest() else {
            return [End::Refused(&["RestoreNotFound"])].into();
        };
        if newest.state == State::Undone {
            return [End::UndoneBefore].into();
        }
        let was_done = newest.ended_at.is_some();
        let mut ends = BTreeSet::new();
        let can_return = newest.outgoing.values().all(|volume| match volume {
            Some(volume) => !self.lost.contains(volume),
            None => !was_done,
        });
        if !can_return {
            ends.insert(match newest.state {
                // On its way it may let masters come back on what they find.
                State::Unfinished(_) => End::Failed(&["UndoImpossible"]),
                State::Done | State::Undone => End::Refused(&["UndoImpossible"]),
            });
        } else if self.has_unknown_beside(newest) {
            ends.insert(match newest.state {
                State::Unfinished(_) => End::Failed(&["VolumeTagWrong", "CandidatesWrong"]),
                State::Done | State::Undone => End::Refused(&["VolumeTagWrong"]),
            });
        } else {
            ends.insert(End::Undone);
        }
        ends
    }

    fn redo_may_end(&self) -> BTreeSet<End> {
        let Some(newest) = self.newest() else {
            return [End::Refused(&["RestoreNotFound"])].into();
        };
        let in_progress = End::Refused(&["RestoreInProgress"]);
        match &newest.state {
            State::Done => [End::DoneBefore].into(),
            // Neither is said: it may go on with what is unfinished, or point to it.
            State::Unfinished(_) => {
                let mut ends = BTreeSet::from([in_progress, End::Done]);
                if newest.met_a_loss {
                    ends.insert(End::Failed(&["UndoImpossible"]));
                }
                if self.has_unknown_beside(newest) {
                    ends.insert(End::Failed(&["VolumeTagWrong", "CandidatesWrong"]));
                }
                ends
            }
            State::Undone => match &newest.incoming {
                Some(incoming) if incoming.values().any(|id| self.lost.contains(id)) => {
                    [End::Refused(&["UndoImpossible"])].into()
                }
                Some(_) if self.has_unknown_beside(newest) => {
                    [End::Refused(&["VolumeTagWrong"])].into()
                }
                Some(_) => [End::Done].into(),
                // It was given up before all its volumes were known.
                None => [End::Done, End::Refused(&["UndoImpossible"])].into(),
            },
        }
    }

    /// Whether masters find what a restore brought, and nothing else.
    fn is_found(&self, restore: &Restore) -> bool {
        restore.state == State::Done
            && restore.incoming.as_ref().is_some_and(|incoming| {
                incoming.iter().all(|(member, id)| {
                    self.in_service.get(member) == Some(&Some(id.clone()))
                        && !self.lost.contains(id)
                        && !self.tagged_again.contains_key(member)
                })
            })
    }

    /// Whether masters find a volume beside a restore's that is neither of its sides.
    fn has_unknown_beside(&self, restore: &Restore) -> bool {
        let found = self.should_be_found();
        restore.outgoing.iter().any(|(member, outgoing)| {
            let incoming = restore
                .incoming
                .as_ref()
                .and_then(|sides| sides.get(member));
            let is_known = |id: &VolumeId| outgoing.as_ref() == Some(id) || incoming == Some(id);
            found
                .get(member)
                .is_some_and(|found| !found.iter().all(is_known))
        })
    }

    /// The newest restore's volumes are in service.
    pub fn bring(&mut self, incoming: BTreeMap<String, VolumeId>, now: Timestamp) {
        let newest = self.restores.last_mut().expect("a restore is under way");
        for (member, id) in &incoming {
            self.in_service.insert(member.clone(), Some(id.clone()));
            self.tagged_again.remove(member);
        }
        newest.incoming = Some(incoming);
        newest.state = State::Done;
        newest.met_a_loss = false;
        newest.ended_at = Some(now);
    }

    /// What was there before the newest restore is in service again.
    pub fn put_back(&mut self) {
        let newest = self.restores.last_mut().expect("a restore is under way");
        for (member, id) in &newest.outgoing {
            self.in_service.insert(member.clone(), id.clone());
            self.tagged_again.remove(member);
        }
        newest.state = State::Undone;
        newest.met_a_loss = false;
    }

    /// A restore began.
    pub fn begin(&mut self, id: String, asked: &Event) {
        let in_scope = |(member, _): &(&String, &Option<VolumeId>)| asked.scope.contains(*member);
        let outgoing = self.in_service.iter().filter(in_scope);
        self.restores.push(Restore {
            id,
            options: asked.options,
            again: asked.again,
            outgoing: outgoing
                .map(|(key, id)| (key.clone(), id.clone()))
                .collect(),
            incoming: None,
            state: State::Unfinished(Some(Action::Restore)),
            ended_at: None,
            met_a_loss: false,
        });
    }

    /// An event was interrupted, and the newest restore has not ended.
    pub fn interrupted(&mut self, action: Action) {
        let newest = self.restores.last_mut().expect("a restore is under way");
        newest.state = match (&newest.state, action) {
            (State::Done, _) => State::Unfinished(Some(Action::Undo)),
            (State::Undone, _) => State::Unfinished(Some(Action::Redo)),
            (State::Unfinished(under_way), Action::Restore) => State::Unfinished(*under_way),
            (State::Unfinished(under_way), action) if *under_way == Some(action) => {
                State::Unfinished(*under_way)
            }
            // Whether it turned round before it was interrupted can't be seen.
            (State::Unfinished(_), _) => State::Unfinished(None),
        };
    }

    /// The newest restore's own event was refused, as its undo is under way.
    pub fn undo_is_under_way(&mut self, asked: &Event) {
        if let Some(newest) = self.restores.last_mut()
            && newest.state == State::Unfinished(None)
            && asked.action == Action::Restore
            && newest.options == asked.options
        {
            newest.state = State::Unfinished(Some(Action::Undo));
        }
    }

    /// A volume is gone.
    pub fn lose(&mut self, lost: &VolumeId) {
        self.lost.insert(lost.clone());
        self.out_of_sight(lost);
        if let Some(Restore {
            state: State::Unfinished(_),
            met_a_loss,
            ..
        }) = self.restores.last_mut()
        {
            *met_a_loss = true;
        }
    }

    /// Masters don't find a volume any more. What somebody tagged beside it is then what they find.
    pub fn out_of_sight(&mut self, volume: &VolumeId) {
        self.tagged_again.retain(|_, id| id != volume);
        for (member, place) in &mut self.in_service {
            if place.as_ref() == Some(volume) {
                *place = self.tagged_again.remove(member);
            }
        }
    }

    /// An event that says `again` went on with the newest restore.
    pub fn said_again(&mut self) {
        if let Some(newest) = self.restores.last_mut() {
            newest.again = true;
        }
    }

    /// Somebody tagged volumes as if they were in service; those that are aren't meant.
    pub fn tag_again(&mut self, volumes: &BTreeMap<String, VolumeId>) {
        for (member, id) in volumes {
            let is_in_service = self.in_service.get(member) == Some(&Some(id.clone()));
            if is_in_service || self.lost.contains(id) {
                continue;
            }
            // Alone it is what masters find.
            let place = self.in_service.entry(member.clone()).or_default();
            if place.is_none() {
                *place = Some(id.clone());
            } else {
                self.tagged_again.insert(member.clone(), id.clone());
            }
        }
    }

    /// What masters should find for each member while no restore is under way.
    pub fn should_be_found(&self) -> BTreeMap<String, BTreeSet<VolumeId>> {
        let mut found = BTreeMap::<String, BTreeSet<VolumeId>>::new();
        let in_service = self
            .in_service
            .iter()
            .filter_map(|(key, id)| Some((key, id.as_ref()?)));
        for (member, id) in in_service.chain(&self.tagged_again) {
            found.entry(member.clone()).or_default().insert(id.clone());
        }
        found
    }
}
