//! The reading end of the trail.

use super::{aged, current};
use crate::telemetry::event::Event;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Rotated files that a reader looks for at most: a stop for the search, far above any sensible setting.
const FILES_READ_MAX: u32 = 10_000;

/// Which events are wanted; the default wants all.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Filter {
    /// Only events about this device, or from its client ids.
    pub id: Option<String>,
    /// Only refusals.
    pub refused: bool,
}

impl Filter {
    /// Whether the event is wanted.
    #[must_use]
    pub fn takes(&self, event: &Event) -> bool {
        (!self.refused || event.kind.is_refusal())
            && self.id.as_deref().is_none_or(|id| is_about(event, id))
    }

    /// Whether it is worth parsing the line: a cheap look, never wrong about what [`takes`](Self::takes) takes, because
    /// ids consist of characters that JSON writes as they are.
    fn may_take(&self, line: &[u8]) -> bool {
        let Some(id) = &self.id else { return true };
        std::str::from_utf8(line).is_ok_and(|line| line.contains(id.as_str()))
    }
}

fn is_about(event: &Event, id: &str) -> bool {
    event.kind.identity() == Some(id)
        || event.kind.client_id().is_some_and(|client| {
            client
                .strip_prefix(id)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
}

/// What a reader found.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Found {
    /// The events, newest last.
    pub events: Vec<Event>,
    /// Lines that are no events: torn by a crash, or written by a newer version.
    pub unreadable: u64,
}

/// The newest `limit` events that the filter takes, newest last. A directory without a trail has none.
pub fn last(directory: &Path, filter: &Filter, limit: usize) -> io::Result<Found> {
    let mut unreadable = 0;
    let mut newest_first: Vec<VecDeque<Event>> = Vec::new();
    let mut missing = limit;
    for (_, file) in files(directory)? {
        if missing == 0 {
            break;
        }
        let mut kept = VecDeque::new();
        for_each_line(BufReader::new(file), |line| match parse(line, filter) {
            Line::Wanted(event) => {
                if kept.len() == missing {
                    kept.pop_front();
                }
                kept.push_back(*event);
            }
            Line::Unwanted => {}
            Line::Unreadable => unreadable += 1,
        })?;
        missing -= kept.len();
        newest_first.push(kept);
    }
    let events = newest_first.into_iter().rev().flatten().collect();
    Ok(Found { events, unreadable })
}

/// Reads what is appended from now on, across rotations.
///
/// Call [`poll`](Self::poll) again and again; between calls the caller waits.
#[derive(Debug)]
pub struct Follow {
    directory: PathBuf,
    filter: Filter,
    /// The file that is read, and its identity; none until there is one.
    reading: Option<(u64, BufReader<File>)>,
    /// The beginning of a line whose end is not written yet.
    partial: Vec<u8>,
}

impl Follow {
    /// Starts behind the last event that is there now.
    pub fn start(directory: &Path, filter: Filter) -> io::Result<Self> {
        let mut follow = Self {
            directory: directory.to_owned(),
            filter,
            reading: open(&current(directory))?.map(|(inode, file)| (inode, BufReader::new(file))),
            partial: Vec::new(),
        };
        follow.drain(&mut |_| {})?;
        Ok(follow)
    }

    /// The wanted events that were appended since the last call.
    pub fn poll(&mut self) -> io::Result<Found> {
        let filter = self.filter.clone();
        let mut found = Found::default();
        let mut take = |line: &[u8]| match parse(line, &filter) {
            Line::Wanted(event) => found.events.push(*event),
            Line::Unwanted => {}
            Line::Unreadable => found.unreadable += 1,
        };
        self.drain(&mut take)?;
        let at = self.reading.as_ref().map(|(inode, _)| *inode);
        // Files that were begun since: all of them up to the one we are in, oldest first.
        let mut newer: Vec<_> = files(&self.directory)?
            .into_iter()
            .take_while(|(inode, _)| Some(*inode) != at)
            .collect();
        if at.is_none() {
            newer.truncate(1);
        }
        for (inode, file) in newer.into_iter().rev() {
            // The writer is done with the old file: what it appended before it rotated, then the next file.
            self.drain(&mut take)?;
            if !self.partial.is_empty() {
                take(&std::mem::take(&mut self.partial));
            }
            self.reading = Some((inode, BufReader::new(file)));
            self.drain(&mut take)?;
        }
        Ok(found)
    }

    fn drain(&mut self, take: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        let Some((_, reader)) = &mut self.reading else {
            return Ok(());
        };
        loop {
            let read = reader.read_until(b'\n', &mut self.partial)?;
            if read == 0 || self.partial.last() != Some(&b'\n') {
                return Ok(());
            }
            take(&self.partial);
            self.partial.clear();
        }
    }
}

enum Line {
    Wanted(Box<Event>),
    Unwanted,
    Unreadable,
}

fn parse(line: &[u8], filter: &Filter) -> Line {
    let line = line.trim_ascii();
    if line.is_empty() || !filter.may_take(line) {
        return Line::Unwanted;
    }
    match serde_json::from_slice::<Event>(line) {
        Ok(event) if filter.takes(&event) => Line::Wanted(Box::new(event)),
        Ok(_) => Line::Unwanted,
        Err(_) => Line::Unreadable,
    }
}

fn for_each_line(mut reader: BufReader<File>, mut take: impl FnMut(&[u8])) -> io::Result<()> {
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line)? > 0 {
        take(&line);
        line.clear();
    }
    Ok(())
}

/// The files of the trail, newest first. They are opened in that order, and a file that a rotation moved meanwhile is
/// met twice and taken once: nothing is missed.
fn files(directory: &Path) -> io::Result<Vec<(u64, File)>> {
    let mut files: Vec<(u64, File)> = Vec::new();
    for age in 0..FILES_READ_MAX {
        match open(&aged(directory, age))? {
            Some((inode, file)) if files.iter().all(|(other, _)| *other != inode) => {
                files.push((inode, file));
            }
            Some(_) => {}
            // Only the current one may be missing while others are there: in the middle of a rotation.
            None if age > 0 => break,
            None => {}
        }
    }
    Ok(files)
}

fn open(path: &Path) -> io::Result<Option<(u64, File)>> {
    match File::open(path) {
        Ok(file) => Ok(Some((file.metadata()?.ino(), file))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
