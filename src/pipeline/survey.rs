//! What there is of many windows that their digests have not taken, from listings and manifests alone: no object is read.

use crate::digest::{Builder, Known, Objects, Sighted, Taken, Target};
use crate::error::Result;
use crate::scan::Report;
use crate::window::Window;
use std::collections::VecDeque;

/// A window, and what there is of it.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) target: Target,
    /// Objects that its digest has not read.
    pub(super) unread: u64,
    /// Among these, objects that it has not even looked at and set aside.
    pub(super) unknown: u64,
    /// Among these, objects that may hold something of it, as far as is remembered.
    pub(super) news: u64,
    /// Whether an object that it knows has other contents now.
    pub(super) is_replaced: bool,
}

/// Looks through `objects` for those that `targets`, given in order of time and without overlap, can take up. `meet` is
/// called with every object in the order of file times, with the number of windows that want to read it, and with those
/// among them that do not know it.
///
/// Memory: what is said of a day of objects, and of those that the digests of the windows around one instant have taken.
///
/// # Errors
/// What the store and the source say.
pub(super) async fn survey(
    builder: &Builder,
    targets: Vec<Target>,
    objects: &Objects,
    report: &Report,
    mut meet: impl FnMut(&Sighted, usize, &[Window]),
) -> Result<Vec<Found>> {
    let times = builder.file_times(&targets);
    let mut survey = Survey { builder, report, ahead: targets.into(), open: VecDeque::new(), found: Vec::new() };
    let mut unknown = Vec::new();
    for times in times {
        for object in builder.sighted(objects, times, report).await? {
            let unread = survey.meet(&object, &mut unknown).await?;
            meet(&object, unread, &unknown);
        }
    }
    Ok(survey.end())
}

struct Survey<'a> {
    builder: &'a Builder,
    report: &'a Report,
    ahead: VecDeque<Target>,
    open: VecDeque<(Found, Taken)>,
    found: Vec<Found>,
}

impl Survey<'_> {
    /// Takes note of the next object; returns how many windows want to read it. Those that do not know it are left in
    /// `unknown`.
    async fn meet(&mut self, object: &Sighted, unknown: &mut Vec<Window>) -> Result<usize> {
        unknown.clear();
        let (builder, time) = (self.builder, object.file_time);
        while let Some(target) = self.ahead.pop_front_if(|target| builder.reach(&target.window).start <= time) {
            self.begin(target).await?;
        }
        while let Some((found, _)) =
            self.open.pop_front_if(|(found, _)| builder.reach(&found.target.window).end <= time)
        {
            self.found.push(found);
        }
        let mut unread = 0;
        for (found, taken) in &mut self.open {
            if !builder.reach(&found.target.window).contains(&time) || taken.holds(&object.content) {
                continue;
            }
            unread += 1;
            found.unread += 1;
            match taken.knows(&object.content) {
                Known::No => {
                    found.unknown += 1;
                    unknown.push(found.target.window);
                    found.news +=
                        u64::from(!self.report.holds_nothing(&object.content, &found.target.window.seconds()));
                }
                Known::Same => {}
                Known::Replaced => found.is_replaced = true,
            }
        }
        Ok(unread)
    }

    async fn begin(&mut self, target: Target) -> Result<()> {
        let taken = match &target.before {
            Some(manifest) if !target.force => self.builder.taken(manifest).await?,
            _ => Taken::default(),
        };
        self.open.push_back((Found { target, unread: 0, unknown: 0, news: 0, is_replaced: false }, taken));
        Ok(())
    }

    /// Windows that no object has reached are told, too.
    fn end(mut self) -> Vec<Found> {
        self.found.extend(self.open.into_iter().map(|(found, _)| found));
        let untouched = |target| Found { target, unread: 0, unknown: 0, news: 0, is_replaced: false };
        self.found.extend(self.ahead.into_iter().map(untouched));
        self.found
    }
}
