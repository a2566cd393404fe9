//! Undoing a restore: the same exchange the other way round.
//!
//! Of a finished restore, the tags go back to the old volumes, and the new ones are retired with a
//! journal of their own. Of an unfinished one, whatever was exchanged goes back, and the new volumes are
//! given up: they stay, marked by the same journal, as this tool deletes no volume. The undo has an id
//! of its own, by which it can be undone.

use etcd_backup_core::diagnostic::{Diagnostic, ErrorType};
use etcd_backup_core::fleet::Cluster;
use etcd_backup_core::ids::{MemberKey, RestoreId};
use etcd_backup_core::restore_tags::Retirement;
use etcd_backup_core::standing::{Sides, Standing, being_undone, is_live, newest_restore};
use etcd_backup_core::volume::Volume;

use crate::attempt::{self, begun};
use crate::choice::list;
use crate::event::Request;
use crate::exchange::{Exchange, MemberExchange};
use crate::identity;

/// An undo, planned, under way or done.
#[derive(Clone, Debug)]
pub struct Undo {
    /// What is undone, as it stands.
    pub standing: Standing,
    /// The exchange that does it.
    pub exchange: Exchange,
}

impl Undo {
    /// The undo that an event asks for, or goes on with.
    ///
    /// # Errors
    ///
    /// `RestoreNotFound`, `RestoreInProgress`, `UndoImpossible`.
    pub fn of(request: &Request, cluster: &Cluster) -> Result<Self, Diagnostic> {
        let standing = standing(request, cluster)?;
        refuse_other(request, cluster, &standing.id)?;
        let id = identity::undo_id(&request.cluster, &standing.id);
        let members = standing.members.iter().map(member_exchange);
        let exchange = Exchange {
            id,
            undoes: Some(standing.id.clone()),
            members: members.collect(),
        };
        let undo = Self { standing, exchange };
        if !undo.standing.is_undo_begun() {
            undo.refuse_superseded()?;
            undo.refuse_without_way_back()?;
        }
        Ok(undo)
    }

    fn refuse_superseded(&self) -> Result<(), Diagnostic> {
        match self.standing.superseded_by() {
            None => Ok(()),
            Some(later) => Err(impossible(format!(
                "restore {later} has replaced volumes of {} since: undo that one first, with \
                 \"restore_id\": \"{later}\"",
                self.standing.id
            ))),
        }
    }

    /// Taking the restored volume from a member that has nothing else would make things worse.
    fn refuse_without_way_back(&self) -> Result<(), Diagnostic> {
        let id = &self.standing.id;
        for (key, sides) in &self.standing.members {
            let back: Vec<&Volume> = sides.replaced.iter().collect();
            if sides.brought.iter().any(is_live) && back.is_empty() {
                return Err(impossible(format!(
                    "the volume that {key} had before restore {id} is gone, so there is nothing to go \
                     back to; the restored one is untouched. Restore another point instead, with \"at\""
                )));
            }
            if back.len() > 1 && back.iter().any(|volume| !is_live(volume)) {
                return Err(impossible(format!(
                    "{key} had {} volumes before restore {id} ({}), and masters must find only one: \
                     delete those that are not to come back, or their etcd-backup/ tags, and send the \
                     event again",
                    back.len(),
                    list(back.iter().map(|volume| &volume.id))
                )));
            }
        }
        Ok(())
    }
}

/// The restore, or the undo, that an event is about, as it stands.
///
/// # Errors
///
/// `RestoreNotFound`, naming the newest where there is one.
pub fn standing(request: &Request, cluster: &Cluster) -> Result<Standing, Diagnostic> {
    let newest = || newest_restore(cluster);
    let unfinished = || {
        let begun = begun(cluster).map(|(origin, _)| origin.restore_id.clone());
        being_undone(cluster).or(begun)
    };
    let asked = request.restore_id.clone();
    let id = asked.or_else(unfinished).or_else(newest);
    let standing = id.as_ref().and_then(|id| Standing::of(cluster, id));
    standing.ok_or_else(|| {
        let newest = match newest() {
            Some(newest) => format!("the newest that is known is {newest}"),
            None => "none is known".to_owned(),
        };
        Diagnostic::new(
            ErrorType::RestoreNotFound,
            format!(
                "no volume of {} tells of {}; {newest}",
                request.cluster,
                id.map_or("any restore".to_owned(), |id| format!("restore {id}")),
            ),
        )
    })
}

/// One thing at a time: what is in the middle is ended, or undone, before anything else begins.
fn refuse_other(request: &Request, cluster: &Cluster, id: &RestoreId) -> Result<(), Diagnostic> {
    if let Some(other) = being_undone(cluster).filter(|other| other != id) {
        return Err(attempt::undo_in_progress(request, &other));
    }
    match begun(cluster) {
        Some((origin, _)) if origin.restore_id != *id => {
            Err(attempt::restore_in_progress(request, cluster, origin))
        }
        _ => Ok(()),
    }
}

fn member_exchange((key, sides): (&MemberKey, &Sides)) -> MemberExchange {
    let back = sides.replaced.iter().map(|volume| {
        let journal = Retirement::of(&volume.tags);
        let was = journal.map(|journal| journal.was).unwrap_or_default();
        (volume.clone(), was)
    });
    MemberExchange {
        key: key.clone(),
        leaving: sides.brought.clone(),
        coming: back.collect(),
    }
}

fn impossible(message: String) -> Diagnostic {
    Diagnostic::new(ErrorType::UndoImpossible, message)
}
