//! What the frames of stacks are: an address in a module, or a function.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tephra_proto::ids::BuildId;

use super::{Ids, NO_ORDER, SERVICE, Table};
use crate::profile::model::{Frame, Module};
use crate::store::columnar::column::{Coding, Column, Definition, Int32, Int64, LARGE_PAGE, Text};
use crate::store::columnar::dictionary::Dictionary;
use crate::store::columnar::files::{Files, ROW_GROUP_ROWS};
use crate::store::columnar::rows::Rows;
use crate::store::columnar::table::Problem;

const ID: Column<Int32> = Column::new("id").coded(Coding::Differences);
const BUILD_ID: Column<Text> = Column::new("build_id");
const MODULE: Column<Text> = Column::new("module");
const ADDRESS: Column<Int64> = Column::new("address").coded(Coding::Differences);
const FUNCTION: Column<Text> = Column::new("function");
const FILE: Column<Text> = Column::new("file");
const LINE: Column<Int32> = Column::new("line");

pub(super) static TABLE: Definition = Definition {
    name: "frames",
    columns: &[
        SERVICE.about(),
        ID.about(),
        BUILD_ID.about(),
        MODULE.about(),
        ADDRESS.about(),
        FUNCTION.about(),
        FILE.about(),
        LINE.about(),
    ],
    page_rows: LARGE_PAGE,
};

/// How a truncated stack's stand-in is told from a function: no function has a negative line.
const TRUNCATED: &str = "[truncated]";
const TRUNCATED_LINE: i32 = -1;

/// The address of a named frame that was inlined: others with a name have 0.
const INLINED_ADDRESS: i64 = 1;

pub(in crate::store::columnar) fn write(
    files: &mut Files,
    service: &str,
    ids: Ids,
    frames: &[Frame],
    modules: &[Module],
) -> parquet::errors::Result<()> {
    let names: HashMap<_, _> = modules.iter().map(|module| (module.build_id, &*module.name)).collect();
    for (chunk, frames) in frames.chunks(ROW_GROUP_ROWS).enumerate() {
        let first = ids.frame + (chunk * ROW_GROUP_ROWS) as i32;
        files.row_group(Table::Frames, "", |group| {
            group.same_text(SERVICE, service, frames.len())?;
            group.put(ID, (0..frames.len()).map(|i| first + i as i32))?;
            let build = |frame: &Frame| match frame {
                Frame::Native { build_id, .. } => build_id.to_string(),
                _ => String::new(),
            };
            group.texts(BUILD_ID, frames.iter().map(build))?;
            let module = |frame: &Frame| match frame {
                Frame::Native { build_id, .. } => names.get(build_id).copied().unwrap_or(""),
                _ => "",
            };
            group.texts(MODULE, frames.iter().map(module))?;
            let address = |frame: &Frame| match frame {
                Frame::Native { address, .. } => *address as i64,
                Frame::Symbolic { inlined: true, .. } => INLINED_ADDRESS,
                _ => 0,
            };
            group.put(ADDRESS, frames.iter().map(address))?;
            group.texts(FUNCTION, frames.iter().map(function))?;
            group.texts(FILE, frames.iter().map(file))?;
            let line = |frame: &Frame| match frame {
                Frame::Symbolic { line, .. } => *line as i32,
                Frame::Truncated => TRUNCATED_LINE,
                Frame::Native { .. } => 0,
            };
            group.put(LINE, frames.iter().map(line))
        })?;
    }
    Ok(())
}

fn function(frame: &Frame) -> &str {
    match frame {
        Frame::Symbolic { function, .. } => function,
        Frame::Truncated => TRUNCATED,
        Frame::Native { .. } => "",
    }
}

fn file(frame: &Frame) -> &str {
    match frame {
        Frame::Symbolic { file, .. } => file,
        _ => "",
    }
}

pub(in crate::store::columnar) fn read(rows: &Rows<'_>, into: &mut Dictionary) -> Result<(), Problem> {
    let shared = |text: &str| Some(Arc::<str>::from(text));
    let ids = rows.get(ID)?;
    let builds = rows.texts(BUILD_ID, |text| match text {
        "" => Some(None),
        hex => BuildId::parse(hex).ok().map(Some),
    })?;
    let modules = rows.texts(MODULE, shared)?;
    let addresses = rows.get(ADDRESS)?;
    let (functions, files) = (rows.texts(FUNCTION, shared)?, rows.texts(FILE, shared)?);
    let lines = rows.get(LINE)?;
    let mut known: HashSet<BuildId> = into.modules.iter().map(|module| module.build_id).collect();
    for (i, id) in ids.into_iter().enumerate() {
        let frame = if let Some(build_id) = builds[i] {
            if known.insert(build_id) {
                into.modules.push(Module { build_id, name: modules[i].clone() });
            }
            Frame::Native { build_id, address: addresses[i] as u64 }
        } else if lines[i] == TRUNCATED_LINE && &*functions[i] == TRUNCATED {
            Frame::Truncated
        } else {
            Frame::Symbolic {
                function: functions[i].clone(),
                file: files[i].clone(),
                line: lines[i] as u32,
                inlined: addresses[i] == INLINED_ADDRESS,
            }
        };
        into.add_frame(id, frame).ok_or_else(|| rows.damaged(NO_ORDER))?;
    }
    Ok(())
}
