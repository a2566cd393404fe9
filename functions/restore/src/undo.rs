//! Undoing a restore: the same exchange the other way round.
//!
//! Of a finished restore, the tags go back to the old volumes, and the new ones are retired with a
//! journal of their own. Of an unfinished one, whatever was exchanged goes back, and the new volumes are
//! given up: they stay, marked by the same journal, as this tool deletes no volume. The undo has an id
//! of its own, by which it can be undone: that is the restore's exchange once more.

use etcd_backup_core::diagnostic::{Diagnostic, ErrorType};
use etcd_backup_core::fleet::Cluster;
use etcd_backup_core::ids::{MemberKey, RestoreId};
use etcd_backup_core::restore_tags::Retirement;
use etcd_backup_core::standing::{
    Sides, Standing, Turn, being_turned, has_memory, is_live, newest_restore,
};
use etcd_backup_core::volume::Volume;

use crate::attempt::{self, begun};
use crate::choice::list;
use crate::event::Request;
use crate::exchange::{Exchange, MemberExchange};

/// An undo, or an undo's undo: planned, under way or done.
#[derive(Clone, Debug)]
pub struct Undo {
    /// The restore, as it stands.
    pub standing: Standing,
    /// Which way it goes.
    pub turn: Turn,
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
        let (standing, turn) = asked_for(request, cluster)?;
        refuse_other(request, cluster, &standing.id, turn)?;
        let undo = Self {
            exchange: exchange(&standing, turn),
            standing,
            turn,
        };
        if undo.standing.turn() != Some(turn) {
            undo.refuse_superseded()?;
            match turn {
                Turn::Undo => undo.refuse_without_way_back()?,
                Turn::Redo => undo.refuse_without_way_on()?,
            }
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

    /// Only what was in service once can be again, and only in the place of what took its own.
    fn refuse_without_way_on(&self) -> Result<(), Diagnostic> {
        let id = &self.standing.id;
        if self.standing.is_redone() {
            return Ok(());
        }
        if self.standing.turn() != Some(Turn::Undo) {
            return Err(impossible(format!("restore {id} is not undone")));
        }
        for (key, sides) in &self.standing.members {
            let in_service = sides.replaced.iter().filter(|volume| is_live(volume));
            if sides
                .brought
                .iter()
                .filter(|volume| has_memory(volume))
                .count()
                != 1
                || in_service.count() != 1
            {
                return Err(impossible(format!(
                    "{key} has no volume of restore {id} that could be put in service again in the \
                     place of another: restore anew"
                )));
            }
        }
        Ok(())
    }
}

/// The restore that an event is about, as it stands, and which way it is to go.
fn asked_for(request: &Request, cluster: &Cluster) -> Result<(Standing, Turn), Diagnostic> {
    match &request.restore_id {
        Some(id) if id.is_undo() => Ok((standing(request, cluster)?, Turn::Redo)),
        Some(_) => Ok((standing(request, cluster)?, Turn::Undo)),
        None => match being_turned(cluster) {
            Some(unfinished) => Ok(unfinished),
            None => Ok((standing(request, cluster)?, Turn::Undo)),
        },
    }
}

/// The restore that an event is about, as it stands: the one it names, else one that is unfinished, else
/// the newest.
///
/// # Errors
///
/// `RestoreNotFound`, naming the newest where there is one.
pub fn standing(request: &Request, cluster: &Cluster) -> Result<Standing, Diagnostic> {
    let newest = || newest_restore(cluster);
    let unfinished = || {
        let begun = begun(cluster).map(|(origin, _)| origin.restore_id.clone());
        being_turned(cluster)
            .map(|(standing, _)| standing.id)
            .or(begun)
    };
    let asked = request.restore_id.as_ref().map(RestoreId::restore);
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
fn refuse_other(
    request: &Request,
    cluster: &Cluster,
    id: &RestoreId,
    turn: Turn,
) -> Result<(), Diagnostic> {
    match being_turned(cluster) {
        Some((other, its_turn)) if other.id != *id || its_turn != turn => {
            return Err(attempt::undo_in_progress(request, &other.id, its_turn));
        }
        _ => {}
    }
    match begun(cluster) {
        Some((origin, _)) if origin.restore_id != *id => {
            Err(attempt::restore_in_progress(request, cluster, origin))
        }
        _ => Ok(()),
    }
}

fn exchange(standing: &Standing, turn: Turn) -> Exchange {
    let members = standing.members.iter();
    let members = members.map(|(key, sides)| member_exchange(key, sides, turn));
    Exchange {
        id: match turn {
            Turn::Undo => standing.id.undo(),
            Turn::Redo => standing.id.clone(),
        },
        members: members.collect(),
    }
}

fn member_exchange(key: &MemberKey, sides: &Sides, turn: Turn) -> MemberExchange {
    let with_tags = |volume: &Volume| {
        let journal = Retirement::of(&volume.tags);
        let was = journal.map(|journal| journal.was).unwrap_or_default();
        (volume.clone(), was)
    };
    let can_serve = |volume: &&Volume| is_live(volume) || has_memory(volume);
    let (leaving, coming): (_, Vec<_>) = match turn {
        Turn::Undo => (
            &sides.brought,
            sides.replaced.iter().map(with_tags).collect(),
        ),
        Turn::Redo => {
            let brought = sides.brought.iter().filter(can_serve);
            (&sides.replaced, brought.map(with_tags).collect())
        }
    };
    MemberExchange {
        key: key.clone(),
        leaving: leaving.clone(),
        coming,
    }
}

fn impossible(message: String) -> Diagnostic {
    Diagnostic::new(ErrorType::UndoImpossible, message)
}
