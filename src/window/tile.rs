//! Arithmetic of many windows: which published ones tile a range, and how a range is cut into windows of one width.
//! In: windows. Out: windows. Knows nothing of digests.

use super::Window;
use crate::error::{Error, Result};
use chrono::TimeDelta;

/// Which windows to take where several choices cover as much time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prefer {
    /// The fewest windows: least to read for an answer about the whole range.
    Fewest,
    /// The most windows: the finest resolution.
    Finest,
}

/// A range cut into published windows and the rest.
///
/// Invariants:
/// - `tiles` and `gaps` together partition the range; each is in the order of time, and no two gaps meet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tiling {
    /// The published windows that were chosen.
    pub tiles: Vec<Window>,
    /// What they leave open.
    pub gaps: Vec<Window>,
}

/// Chooses, of the `published` windows that lie wholly inside `range`, those without overlap that cover most time.
///
/// Windows may be given in any order, several times, and may overlap; the result does not depend on the order. Those
/// that stick out of the range are not used, because a digest cannot be cut. O(n log n) for n windows.
///
/// Of overlapping windows where none holds the others (12:00/14:00 beside 13:00/15:00) only one can be taken; what the
/// other covers besides becomes a gap.
pub fn tile(range: &Window, published: &[Window], prefer: Prefer) -> Tiling {
    let spans = spans(range, published);
    // Weighted interval scheduling: the best choice among the first n windows is that among the first n - 1, or the
    // nth beside the best among those that stop by its start.
    let mut best = Vec::with_capacity(spans.len() + 1);
    best.push(Choice { score: 0, before: NOT_TAKEN });
    for (index, span) in spans.iter().enumerate() {
        // Mostly the window before is the neighbour; else it is looked for.
        let before = match index.checked_sub(1).map(|last| spans[last].stop <= span.start) {
            Some(false) => spans[..index].partition_point(|other| other.stop <= span.start),
            Some(true) | None => index,
        };
        let with = best[before].with(*span, before, prefer);
        let without = best[index];
        best.push(if with.score > without.score { with } else { Choice { before: NOT_TAKEN, ..without } });
    }
    let mut tiles = Vec::with_capacity(spans.len());
    let mut count = spans.len();
    while count > 0 {
        count = match best[count].before {
            NOT_TAKEN => count - 1,
            before => {
                tiles.push(published[spans[count - 1].index as usize]);
                before as usize
            }
        };
    }
    tiles.reverse();
    let covered = best.last().map_or(0, Choice::minutes);
    let gaps = if covered == range.width().num_minutes() { Vec::new() } else { gaps(range, &tiles) };
    Tiling { tiles, gaps }
}

/// A window inside a range, in minutes from the start of the range: small, and quick to compare. Ordered by stop, then
/// start. A range of times that fit SQL has fewer than 2^29 minutes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Span {
    stop: u32,
    start: u32,
    /// Where the window is among those that were given.
    index: u32,
}

/// The windows that lie wholly inside `range`, in order, each once.
fn spans(range: &Window, published: &[Window]) -> Vec<Span> {
    let (origin, end) = (range.start.timestamp(), range.stop.timestamp());
    let span = |(index, window): (usize, &Window)| {
        let (start, stop) = (window.start.timestamp(), window.stop.timestamp());
        let minutes = |seconds: i64| u32::try_from((seconds - origin) / 60).ok();
        let index = u32::try_from(index).ok()?;
        (origin <= start && stop <= end).then_some(Span { stop: minutes(stop)?, start: minutes(start)?, index })
    };
    let mut spans = Vec::with_capacity(published.len());
    spans.extend(published.iter().enumerate().filter_map(span));
    spans.sort_unstable();
    spans.dedup_by_key(|span| (span.stop, span.start));
    spans
}

/// The best that can be done with the first so many windows.
#[derive(Clone, Copy)]
struct Choice {
    /// Minutes covered, above 32 bits of how good the number of windows is: both are smaller than 2^30.
    score: i64,
    /// How many of the windows before the last one remain to choose from if that is taken; else [`NOT_TAKEN`].
    before: u32,
}

const NOT_TAKEN: u32 = u32::MAX;

impl Choice {
    fn minutes(&self) -> i64 {
        (self.score + (1 << 31)) >> 32
    }

    fn with(&self, span: Span, before: usize, prefer: Prefer) -> Choice {
        let count = match prefer {
            Prefer::Fewest => -1,
            Prefer::Finest => 1,
        };
        Choice { score: self.score + (i64::from(span.stop - span.start) << 32) + count, before: before as u32 }
    }
}

/// What `tiles`, in order and without overlap, leave open of `range`.
fn gaps(range: &Window, tiles: &[Window]) -> Vec<Window> {
    let starts = std::iter::once(range.start).chain(tiles.iter().map(|tile| tile.stop));
    let stops = tiles.iter().map(|tile| tile.start).chain(std::iter::once(range.stop));
    starts.zip(stops).filter(|(start, stop)| start < stop).map(|(start, stop)| Window { start, stop }).collect()
}

/// Cuts `range` into windows of `width`, aligned to the Unix epoch in UTC; in order, from either end, one at a time.
///
/// What lies before the first boundary and after the last belongs to none: hours of 11:30/14:00 are 12:00/13:00 and
/// 13:00/14:00. Widths of several days count from 1 January 1970, so weeks begin on Thursdays.
///
/// # Errors
/// `Invalid` if `width` is neither a part of a day in whole minutes nor a number of days: other windows would begin at
/// other times every day.
pub fn split(
    range: &Window,
    width: TimeDelta,
) -> Result<impl DoubleEndedIterator<Item = Window> + ExactSizeIterator + Clone + use<>> {
    const DAY: i64 = 86_400;
    let seconds = width.num_seconds();
    let whole = seconds > 0 && seconds % 60 == 0 && width.subsec_nanos() == 0;
    if !whole || (DAY % seconds != 0 && seconds % DAY != 0) {
        return Err(Error::invalid(format!("a width of {} does not fit into days", format_width(width)))
            .with_hint("take whole minutes that divide a day (5m, 1h, 6h) or a number of days (1d, 7d)"));
    }
    let start = range.start.timestamp();
    let skipped = (-start).rem_euclid(seconds);
    // A range of times that fit SQL has fewer than 2^29 minutes.
    let count = u32::try_from((range.stop.timestamp() - start - skipped).max(0) / seconds).unwrap_or(u32::MAX);
    let origin = range.start;
    let boundary = move |index: u32| origin + TimeDelta::seconds(skipped + i64::from(index) * seconds);
    Ok((0..count).map(move |index| Window { start: boundary(index), stop: boundary(index + 1) }))
}

/// Joins windows that meet: the spans that `windows`, in order and without overlap, make.
pub fn join(windows: impl IntoIterator<Item = Window>) -> Vec<Window> {
    let mut spans: Vec<Window> = Vec::new();
    for window in windows {
        match spans.last_mut() {
            Some(last) if last.stop == window.start => last.stop = window.stop,
            _ => spans.push(window),
        }
    }
    spans
}

/// Writes `90s`, `90m` or `36h`: the largest unit that divides.
fn format_width(width: TimeDelta) -> String {
    let seconds = width.num_seconds();
    let unit = [(3600, 'h'), (60, 'm')].into_iter().find(|(unit, _)| seconds != 0 && seconds % unit == 0);
    unit.map_or_else(|| format!("{seconds}s"), |(unit, name)| format!("{}{name}", seconds / unit))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use chrono::DateTime;
    use proptest::prelude::*;

    /// A window by its minutes after the epoch.
    fn minutes(start: i64, stop: i64) -> Window {
        let time = |minutes: i64| DateTime::from_timestamp(minutes * 60, 0).unwrap();
        Window::new(time(start), time(stop)).unwrap()
    }

    fn hours(start: i64, stop: i64) -> Window {
        minutes(start * 60, stop * 60)
    }

    fn covered(windows: &[Window]) -> i64 {
        windows.iter().map(|window| window.width().num_minutes()).sum()
    }

    /// The best score of any choice of `windows` inside `range`, by trying them all.
    fn brute_force(range: &Window, windows: &[Window], prefer: Prefer) -> (i64, usize) {
        let mut best = (0, 0);
        for choice in 0u32..1 << windows.len() {
            let chosen: Vec<Window> = windows
                .iter()
                .enumerate()
                .filter(|(bit, _)| choice >> bit & 1 == 1)
                .map(|(_, window)| *window)
                .collect();
            let inside = chosen.iter().all(|window| range.start <= window.start && window.stop <= range.stop);
            let apart = chosen.iter().enumerate().all(|(index, window)| {
                chosen[index + 1..].iter().all(|other| window.stop <= other.start || other.stop <= window.start)
            });
            let (most, count) = (covered(&chosen), chosen.len());
            let is_better = match prefer {
                Prefer::Fewest => count < best.1,
                Prefer::Finest => count > best.1,
            };
            if inside && apart && (most > best.0 || (most == best.0 && is_better)) {
                best = (most, count);
            }
        }
        best
    }

    #[test]
    fn a_day_answers_for_its_hours_and_the_hours_for_the_day() {
        let mut published: Vec<Window> = (0..24).map(|hour| hours(hour, hour + 1)).collect();
        published.push(hours(0, 24));
        assert_eq!(tile(&hours(0, 24), &published, Prefer::Fewest).tiles, [hours(0, 24)]);
        assert_eq!(tile(&hours(0, 24), &published, Prefer::Finest).tiles, published[..24]);
        // A day that lacks an hour covers less than the day.
        published.remove(7);
        assert_eq!(tile(&hours(0, 24), &published, Prefer::Finest).tiles, [hours(0, 24)]);
    }

    #[test]
    fn what_sticks_out_is_not_used_and_becomes_a_gap() {
        let tiling = tile(&minutes(30, 200), &[hours(0, 1), hours(1, 2), hours(3, 4)], Prefer::Fewest);
        assert_eq!(tiling.tiles, [hours(1, 2)]);
        assert_eq!(tiling.gaps, [minutes(30, 60), minutes(120, 200)]);
        let nothing = tile(&hours(0, 1), &[], Prefer::Finest);
        assert_eq!((nothing.tiles, nothing.gaps), (vec![], vec![hours(0, 1)]));
    }

    #[test]
    fn a_range_splits_at_the_boundaries_inside_it() {
        let split_hours: Vec<Window> = split(&minutes(-90, 60), TimeDelta::hours(1)).unwrap().collect();
        assert_eq!(split_hours, [hours(-1, 0), hours(0, 1)]);
        assert_eq!(split(&minutes(61, 179), TimeDelta::hours(1)).unwrap().len(), 0);
        assert_eq!(split(&minutes(10, 50), TimeDelta::hours(1)).unwrap().len(), 0);
        let mut years = split(&hours(0, 3 * 365 * 24), TimeDelta::minutes(1)).unwrap();
        assert_eq!(years.len(), 3 * 365 * 24 * 60);
        assert_eq!(years.next_back(), Some(minutes(3 * 365 * 24 * 60 - 1, 3 * 365 * 24 * 60)));
    }

    #[test]
    fn windows_that_meet_are_one_span() {
        assert_eq!(join([hours(0, 1), hours(1, 2), hours(3, 4), hours(4, 5)]), [hours(0, 2), hours(3, 5)]);
        assert_eq!(join([]), []);
    }

    #[test]
    fn widths_that_do_not_fit_into_days_are_refused() {
        for width in [
            TimeDelta::zero(),
            -TimeDelta::hours(1),
            TimeDelta::seconds(90),
            TimeDelta::milliseconds(60_500),
            TimeDelta::minutes(7),
            TimeDelta::hours(36),
        ] {
            let error = split(&hours(0, 24), width).err().unwrap();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{width}");
        }
        assert_eq!(
            split(&hours(0, 24), TimeDelta::hours(36)).err().unwrap().to_string(),
            "a width of 36h does not fit into days"
        );
    }

    prop_compose! {
        /// Windows near each other on few boundaries, so that they often meet, overlap and repeat.
        fn windows(max: usize)(
            bounds in prop::collection::vec((-12i64..30, 1i64..12), 0..max)
        ) -> Vec<Window> {
            bounds.into_iter().map(|(start, width)| minutes(start, start + width)).collect()
        }
    }

    proptest! {
        #[test]
        fn tiles_and_gaps_partition_the_range(published in windows(40), finest: bool) {
            let range = minutes(0, 24);
            let tiling = tile(&range, &published, if finest { Prefer::Finest } else { Prefer::Fewest });
            prop_assert!(tiling.tiles.iter().all(|tile| published.contains(tile)));
            prop_assert!(tiling.tiles.is_sorted() && tiling.gaps.is_sorted());
            prop_assert!(tiling.gaps.windows(2).all(|pair| pair[0].stop < pair[1].start), "no two gaps meet");
            let mut parts = [tiling.tiles, tiling.gaps].concat();
            parts.sort();
            prop_assert_eq!(parts.first().unwrap().start, range.start);
            prop_assert_eq!(parts.last().unwrap().stop, range.stop);
            prop_assert!(parts.windows(2).all(|pair| pair[0].stop == pair[1].start));
        }

        #[test]
        fn no_other_choice_covers_more_or_is_fewer_or_finer(published in windows(10)) {
            let range = minutes(0, 24);
            for prefer in [Prefer::Fewest, Prefer::Finest] {
                let tiles = tile(&range, &published, prefer).tiles;
                prop_assert_eq!((covered(&tiles), tiles.len()), brute_force(&range, &published, prefer));
            }
        }

        #[test]
        fn the_order_of_the_windows_does_not_matter(
            (published, shuffled) in windows(40).prop_flat_map(|windows| {
                (Just(windows.clone()), Just(windows).prop_shuffle())
            })
        ) {
            let range = minutes(-5, 35);
            for prefer in [Prefer::Fewest, Prefer::Finest] {
                prop_assert_eq!(tile(&range, &published, prefer), tile(&range, &shuffled, prefer));
            }
        }

        #[test]
        fn split_windows_are_aligned_meet_and_leave_less_than_a_width(
            start in -10_000i64..10_000, length in 1i64..10_000, width in prop::sample::select(vec![1i64, 5, 60, 360, 1440, 4320])
        ) {
            let range = minutes(start, start + length);
            let windows: Vec<Window> = split(&range, TimeDelta::minutes(width)).unwrap().collect();
            prop_assert!(windows.iter().all(|window| window.start.timestamp().rem_euclid(width * 60) == 0));
            prop_assert!(windows.iter().all(|window| window.width() == TimeDelta::minutes(width)));
            let rest = tile(&range, &windows, Prefer::Fewest).gaps;
            prop_assert!(rest.iter().all(|gap| gap.width() < TimeDelta::minutes(width) || windows.is_empty()));
            prop_assert!(windows.windows(2).all(|pair| pair[0].stop == pair[1].start));
            prop_assert!(!windows.is_empty() || length < 2 * width);
        }
    }
}
