//! The prefix tree: a stack is its leaf's id.

use super::{Ids, NO_ORDER, SERVICE, Table};
use crate::profile::model::Node;
use crate::store::columnar::column::{Coding, Column, Definition, Int32, LARGE_PAGE};
use crate::store::columnar::dictionary::Dictionary;
use crate::store::columnar::files::{Files, ROW_GROUP_ROWS};
use crate::store::columnar::rows::Rows;
use crate::store::columnar::table::Problem;

const ID: Column<Int32> = Column::new("id").coded(Coding::Differences);
const PARENT: Column<Int32> = Column::new("parent").coded(Coding::Differences);
const FRAME: Column<Int32> = Column::new("frame").coded(Coding::Differences);

pub(super) static TABLE: Definition = Definition {
    name: "stacks",
    columns: &[SERVICE.about(), ID.about(), PARENT.about(), FRAME.about()],
    page_rows: LARGE_PAGE,
};

/// The parent of roots.
const NO_PARENT: i32 = -1;

pub(in crate::store::columnar) fn write(
    files: &mut Files,
    service: &str,
    ids: Ids,
    nodes: &[Node],
) -> parquet::errors::Result<()> {
    for (chunk, nodes) in nodes.chunks(ROW_GROUP_ROWS).enumerate() {
        let first = ids.node + (chunk * ROW_GROUP_ROWS) as i32;
        files.row_group(Table::Stacks, "", |group| {
            group.same_text(SERVICE, service, nodes.len())?;
            group.put(ID, (0..nodes.len()).map(|i| first + i as i32))?;
            let parent = |node: &Node| match node.parent {
                Node::ROOT => NO_PARENT,
                parent => ids.node + parent as i32,
            };
            group.put(PARENT, nodes.iter().map(parent))?;
            group.put(FRAME, nodes.iter().map(|node| ids.frame + node.frame as i32))
        })?;
    }
    Ok(())
}

/// The frames must be there already.
pub(in crate::store::columnar) fn read(rows: &Rows<'_>, into: &mut Dictionary) -> Result<(), Problem> {
    let (ids, parents, frames) = (rows.get(ID)?, rows.get(PARENT)?, rows.get(FRAME)?);
    for (i, id) in ids.into_iter().enumerate() {
        let parent = match parents[i] {
            NO_PARENT => Node::ROOT,
            parent => into.node_index(parent).ok_or_else(|| rows.damaged("a parent does not precede its child"))?,
        };
        let frame = into.frame_index(frames[i]);
        let frame = frame.ok_or_else(|| rows.damaged("a frame is not in the frames table"))?;
        into.add_node(id, Node { parent, frame }).ok_or_else(|| rows.damaged(NO_ORDER))?;
    }
    Ok(())
}
