//! Carries out one job: reads its inputs a part at a time, writes its outputs, and exchanges them in the catalog.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::{Arc, Mutex};

use tephra_proto::ids::TraceId;

use super::builder::{Incoming, PartBuilder, Rollup};
use super::levels::{LEVELS, Level, TRACES, block_of};
use super::objects::Objects;
use super::output::{Output, OutputError, Provenance};
use super::plan::Job;
use crate::base::clock::now_ms;
use crate::store::bulk::BulkError;
use crate::store::catalog::{Inputs, LevelSegment, NewSegment, SEQUENCES_REMEMBERED, SEQUENCES_REMEMBERED_MS};
use crate::store::columnar::Table;
use crate::store::identity::{AgentWindows, Agents, Content, FOOTER, SegmentFooter, key_block};
use crate::store::segment::{Footer, SegmentError};
use crate::store::{Store, StoreError};

/// What a job has to know of deletions, and to tell of what it writes.
#[derive(Debug, Default)]
pub(super) struct Circumstances {
    /// How many deletions were known before anything was looked at.
    pub(super) number: u64,
    /// Traces.
    pub(super) traces: HashSet<TraceId>,
    /// Since when requests are counted, unix milliseconds: examples of before stand for the counts.
    pub(super) counted_from_ms: u64,
    /// Segments that may hold what completes traces of those that are read.
    pub(super) beside: Vec<LevelSegment>,
    /// See [`Provenance::written`].
    pub(super) written: Arc<Mutex<Vec<String>>>,
}

/// What a job made.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) then: Inputs,
    pub(super) outputs: Vec<NewSegment>,
    /// Inputs that turned out damaged: nothing is to be exchanged.
    pub(super) damaged: bool,
}

/// How much memory a job takes, bytes: a part that is built, one that is read, and the segments that are being laid out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Budget {
    part: usize,
    output: usize,
}

impl Budget {
    /// Shares `bytes` out: what is built at most doubles when it is ended, and what is read is a part of the same size.
    pub(super) fn of(bytes: usize) -> Self {
        Self { part: bytes / 6, output: bytes / 8 }
    }
}

/// Does the work of a job. Blocks.
pub(super) fn work(store: &Store, job: &Job, given: &Circumstances, budget: Budget) -> Result<Made, StoreError> {
    match job {
        Job::Flush(inputs) => flush(store, inputs, given, budget),
        Job::Roll(level, inputs) => {
            let next = level.next().unwrap_or(*level);
            rewrite(store, inputs, given, budget, Rollup::Level(next), Inputs::Roll)
        }
        Job::Merge(TRACES, inputs) => rewrite(store, inputs, given, budget, Rollup::Traces, Inputs::Replace),
        Job::Merge(number, inputs) => {
            let level = Level::of(*number).unwrap_or(LEVELS[0]);
            rewrite(store, inputs, given, budget, Rollup::Level(level), Inputs::Replace)
        }
    }
}

/// Windows as they arrived, a service of a block at a time.
fn flush(store: &Store, inputs: &[LevelSegment], given: &Circumstances, budget: Budget) -> Result<Made, StoreError> {
    let [level, ..] = LEVELS;
    let mut batches: BTreeMap<(u64, &str), Vec<(usize, usize)>> = BTreeMap::new();
    let mut footers = Vec::with_capacity(inputs.len());
    for input in inputs {
        let Some(footer) = store.footer(&input.segment)? else {
            return Ok(Made { then: Inputs::Replace, outputs: Vec::new(), damaged: true });
        };
        footers.push(footer);
    }
    for (i, footer) in footers.iter().enumerate() {
        let counts = &inputs[i].services;
        for (number, info) in footer.windows.iter().enumerate() {
            if counts.contains(&info.service) {
                let block = block_of(level.number, info.start_ms);
                batches.entry((block, &info.service)).or_default().push((i, number));
            }
        }
    }
    let bulk = store.bulk().clone();
    let mut objects = Objects::of(inputs, budget.part / 2);
    let (holds, holds_traces) = of_arrived(inputs, &footers);
    let provenance = provenance(store, inputs, given);
    let mut profiles = Output::new(bulk.as_ref(), Rollup::Level(level), budget.output, provenance.clone());
    let mut traces = Output::new(bulk.as_ref(), Rollup::Traces, budget.output, provenance);
    let (mut profiles_block, mut traces_block) = (None, None);
    for ((block, service), batches) in batches {
        if profiles_block.replace(block) != Some(block) {
            let mut agents = Agents::default();
            footers.iter().for_each(|footer| agents.add_arrived(footer, block));
            profiles.begin(holds.within(level.number, block), remembered(agents)).map_err(failed)?;
        }
        let day = block_of(TRACES, block);
        if traces_block.replace(day) != Some(day) {
            traces.begin(holds_traces.within(TRACES, day), Vec::new()).map_err(failed)?;
        }
        let mut values = PartBuilder::new(service, Rollup::Level(level));
        let mut linked = PartBuilder::new(service, Rollup::Traces);
        for (input, number) in batches {
            // A window that is damaged is left out, as queries leave it out.
            let Some(window) = objects.window(store, input, &footers[input].windows[number])? else { continue };
            values.add_window(&window);
            linked.add_window(&window);
            if values.bytes() + linked.bytes() >= budget.part {
                end(&mut profiles, &mut values)?;
                linked.retain_traces(|id| !given.traces.contains(id));
                end(&mut traces, &mut linked)?;
            }
        }
        end(&mut profiles, &mut values)?;
        linked.retain_traces(|id| !given.traces.contains(id));
        end(&mut traces, &mut linked)?;
    }
    let mut outputs = profiles.finish().map_err(failed)?;
    outputs.extend(traces.finish().map_err(failed)?);
    Ok(Made { then: Inputs::Replace, outputs, damaged: false })
}

/// Compacted segments of one block, a service at a time.
fn rewrite(
    store: &Store,
    inputs: &[LevelSegment],
    given: &Circumstances,
    budget: Budget,
    rollup: Rollup,
    then: Inputs,
) -> Result<Made, StoreError> {
    let mut segments = Vec::with_capacity(inputs.len());
    for input in inputs {
        match store.columnar(input, &Table::ALL)? {
            Some(segment) => segments.push(segment),
            None => return Ok(Made { then, outputs: Vec::new(), damaged: true }),
        }
    }
    let counts = |input: &LevelSegment, service: &String| input.services.contains(service);
    let mut services = BTreeSet::new();
    for (input, segment) in inputs.iter().zip(&segments) {
        services.extend(segment.services().iter().filter(|service| counts(input, service)).cloned());
    }
    let bulk = store.bulk().clone();
    let completed = if rollup == Rollup::Traces { completed(store, inputs, given)? } else { HashSet::new() };
    let ready = |builder: &mut PartBuilder| {
        builder.retain_traces(|id| !given.traces.contains(id));
        builder.thin_examples(given.counted_from_ms, &completed);
    };
    let (content, agents) = of_compacted(store, inputs)?;
    let rolled = then == Inputs::Replace && inputs.first().is_some_and(|input| input.rolled);
    let provenance = Provenance { rolled, ..provenance(store, inputs, given) };
    let mut output = Output::new(bulk.as_ref(), rollup, budget.output, provenance);
    output.begin(content, remembered(agents)).map_err(failed)?;
    for service in services {
        let mut builder = PartBuilder::new(&service, rollup);
        for (input, segment) in inputs.iter().zip(&segments).filter(|(input, _)| counts(input, &service)) {
            for part in segment.parts_of(&service) {
                let Some(part) = store.checked(&input.segment.id, segment.whole(bulk.as_ref(), part))? else {
                    return Ok(Made { then, outputs: Vec::new(), damaged: true });
                };
                let mut part = Incoming::new(part);
                loop {
                    let all = builder.add_part(&mut part, budget.part);
                    if builder.bytes() >= budget.part {
                        ready(&mut builder);
                        end(&mut output, &mut builder)?;
                    }
                    if all {
                        break;
                    }
                }
            }
        }
        ready(&mut builder);
        end(&mut output, &mut builder)?;
    }
    let outputs = output.finish().map_err(failed)?;
    Ok(Made { then, outputs, damaged: false })
}

/// Traces that somebody completed, in windows of the inputs and soon after.
fn completed(store: &Store, inputs: &[LevelSegment], given: &Circumstances) -> Result<HashSet<TraceId>, StoreError> {
    let mut completed = HashSet::new();
    for row in inputs.iter().chain(&given.beside) {
        let Some(segment) = store.columnar(row, &[Table::Spans])? else { continue };
        for part in 0..segment.services().len() {
            let found = store.checked(&row.segment.id, segment.completed_traces(store.bulk().as_ref(), part))?;
            completed.extend(found.unwrap_or_default());
        }
    }
    Ok(completed)
}

/// Ends a part and starts the next.
fn end(output: &mut Output<'_>, builder: &mut PartBuilder) -> Result<(), StoreError> {
    if builder.is_empty() {
        return Ok(());
    }
    let fresh = builder.successor();
    let part = std::mem::replace(builder, fresh).finish();
    output.add(&part).map_err(failed)
}

/// What arrived segments hold, as profiles and as traces.
fn of_arrived(inputs: &[LevelSegment], footers: &[Arc<Footer>]) -> (Content, Content) {
    let (mut profiles, mut traces) = (Content::default(), Content::default());
    for (input, footer) in inputs.iter().zip(footers) {
        profiles.add(&Content::of_arrived(&input.segment.id, footer, LEVELS[0].number));
        traces.add(&Content::of_arrived(&input.segment.id, footer, TRACES));
    }
    (profiles, traces)
}

/// What compacted segments hold, and which windows those are.
fn of_compacted(store: &Store, inputs: &[LevelSegment]) -> Result<(Content, Agents), StoreError> {
    let (mut content, mut agents) = (Content::default(), Agents::default());
    for LevelSegment { segment, tables, .. } in inputs {
        let listed = tables.iter().find(|table| table.name == FOOTER);
        let read =
            listed.map(|table| SegmentFooter::read(store.bulk().as_ref(), &table.object, table.bytes, Some(table.crc)));
        match read {
            Some(Ok((footer, _))) => {
                content.add(&footer.holds());
                agents.add(&footer.agents);
            }
            // Data that is good is not lost because nobody knows where it came from.
            Some(Err(SegmentError::Bulk(error @ (BulkError::Io { .. } | BulkError::Bucket { .. })))) => {
                return Err(error.into());
            }
            Some(Err(_)) | None => {
                content.add(&Content::of(key_block(segment.level, segment.min_ms), 0, &segment.id));
            }
        }
    }
    Ok((content, agents))
}

/// As far as the catalog would remember them.
fn remembered(mut agents: Agents) -> Vec<AgentWindows> {
    agents.trim(now_ms().saturating_sub(SEQUENCES_REMEMBERED_MS), SEQUENCES_REMEMBERED);
    agents.to_entries()
}

fn provenance(store: &Store, inputs: &[LevelSegment], given: &Circumstances) -> Provenance {
    Provenance {
        store: store.id().to_owned(),
        sources: inputs.iter().map(|input| input.segment.id.clone()).collect(),
        deletions: given.number,
        rolled: false,
        written: given.written.clone(),
    }
}

fn failed(error: OutputError) -> StoreError {
    match error {
        OutputError::Bulk(error) => error.into(),
        OutputError::Layout(error) => StoreError::Task(error.to_string()),
    }
}
