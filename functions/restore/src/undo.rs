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
    Sides, Standing, Turn, being_turned, has_memory, is_live, newest_restore, stranded,
};
use etcd_backup_core::volume::Volume;

use crate::attempt::{self, begun};
use crate::choice::list;
use crate::collect::Situation;
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
    pub fn of(request: &Request, situation: &Situation) -> Result<Self, Diagnostic> {
        let cluster = &situation.cluster;
        let (standing, turn) = asked_for(request, situation)?;
        refuse_other(request, cluster, &standing.id, turn)?;
        let undo = Self {
            exchange: exchange(&standing, turn, cluster),
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

    /// Members that are left without any volume, as they were before the restore, or as somebody has
    /// deleted the old one since.
    pub fn without_way_back(&self) -> Vec<&MemberKey> {
        let members = self.exchange.members.iter();
        let empty = members.filter(|member| member.coming.is_empty() && !member.leaving.is_empty());
        match self.turn {
            Turn::Undo if self.exchange.coming().next().is_some() => {
                empty.map(|member| &member.key).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Taking the restored volume from a member that has nothing else would make things worse. Of an
    /// unfinished restore it is the way it was before.
    fn refuse_without_way_back(&self) -> Result<(), Diagnostic> {
        let id = &self.standing.id;
        let is_finished = self.standing.is_finished();
        for (key, sides) in &self.standing.members {
            let back: Vec<&Volume> = sides.replaced.iter().collect();
            if is_finished && sides.brought.iter().any(is_live) && back.is_empty() {
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

/// The same event, naming what it is about: what is newest or unfinished changes while it is carried out.
///
/// # Errors
///
/// `RestoreNotFound`.
pub fn named(request: Request, situation: &Situation) -> Result<Request, Diagnostic> {
    let (standing, turn) = asked_for(&request, situation)?;
    let id = match turn {
        Turn::Undo => standing.id,
        Turn::Redo => standing.id.undo(),
    };
    Ok(Request {
        restore_id: Some(id),
        ..request
    })
}

/// The restore that an event is about, as it stands, and which way it is to go.
fn asked_for(request: &Request, situation: &Situation) -> Result<(Standing, Turn), Diagnostic> {
    match &request.restore_id {
        Some(id) if id.is_undo() => Ok((standing(request, situation)?, Turn::Redo)),
        Some(_) => Ok((standing(request, situation)?, Turn::Undo)),
        None => match being_turned(&situation.cluster) {
            Some(unfinished) => Ok(unfinished),
            None => Ok((standing(request, situation)?, Turn::Undo)),
        },
    }
}

/// The restore that an event is about, as it stands: the one it names, else one that is unfinished, else
/// the newest.
///
/// # Errors
///
/// `RestoreNotFound`, naming the newest where there is one.
pub fn standing(request: &Request, situation: &Situation) -> Result<Standing, Diagnostic> {
    let cluster = &situation.cluster;
    let newest = || newest_restore(cluster);
    let has_suspended = || {
        let mut suspended = situation.fleet_of_masters.suspended();
        let by = suspended.find_map(|group| group.suspended_by.as_ref())?;
        Standing::of(cluster, &by.restore()).map(|standing| standing.id)
    };
    let is_begun = || begun(cluster).map(|(origin, _)| origin.restore_id.clone());
    let unfinished = || {
        let turned = being_turned(cluster).map(|(standing, _)| standing.id);
        turned
            .or_else(is_begun)
            .or_else(has_suspended)
            .or_else(|| stranded(cluster))
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

/// One that is over takes nothing out and puts nothing in any more, whatever came since.
fn exchange(standing: &Standing, turn: Turn, cluster: &Cluster) -> Exchange {
    let is_over = match turn {
        Turn::Undo => standing.is_undone(),
        Turn::Redo => standing.is_redone(),
    };
    let members = standing.members.iter().map(|(key, sides)| {
        let mut member = member_exchange(standing, key, sides, turn);
        // Before a restore has exchanged anything, what is live is what it would have replaced.
        let is_awaited = member.coming.iter().any(|(volume, _)| !is_live(volume));
        if is_awaited && !is_over {
            member.leaving.extend(strays(cluster, key, sides));
        }
        member
    });
    Exchange {
        id: match turn {
            Turn::Undo => standing.id.undo(),
            Turn::Redo => standing.id.clone(),
        },
        members: members.collect(),
    }
}

/// Volumes in the member's place that the restore knows nothing of, like one that kops made since.
fn strays<'a>(
    cluster: &'a Cluster,
    key: &MemberKey,
    sides: &'a Sides,
) -> impl Iterator<Item = Volume> + 'a {
    let live = cluster
        .members
        .get(key)
        .map_or(&[][..], |member| &member.volumes);
    let known = |volume: &Volume| {
        let mut all = sides.brought.iter().chain(&sides.replaced);
        all.any(|known| known.id == volume.id)
    };
    live.iter().filter(move |volume| !known(volume)).cloned()
}

/// What another restore has retired since is that one's to put back.
fn member_exchange(
    standing: &Standing,
    key: &MemberKey,
    sides: &Sides,
    turn: Turn,
) -> MemberExchange {
    let with_tags = |volume: &Volume| {
        let journal = Retirement::of(&volume.tags);
        let was = journal.map(|journal| journal.was).unwrap_or_default();
        (volume.clone(), was)
    };
    let may_come = |volume: &&Volume| match turn {
        Turn::Undo => is_live(volume) || standing.has_retired(volume),
        Turn::Redo => is_live(volume) || (standing.is_given_up(volume) && has_memory(volume)),
    };
    let (leaving, coming) = match turn {
        Turn::Undo => (&sides.brought, &sides.replaced),
        Turn::Redo => (&sides.replaced, &sides.brought),
    };
    let ours = leaving.iter().filter(|volume| {
        let journal = Retirement::of(&volume.tags);
        journal.is_none_or(|journal| journal.restore_id.restore() == standing.id)
    });
    MemberExchange {
        key: key.clone(),
        leaving: ours.cloned().collect(),
        coming: coming.iter().filter(may_come).map(with_tags).collect(),
    }
}

fn impossible(message: String) -> Diagnostic {
    Diagnostic::new(ErrorType::UndoImpossible, message)
}
