//! The table of sampled blocks, with room for one.

use loom::sync::Arc;
use loom::thread;

use crate::table::{LiveBlock, LiveTable};

fn block(number: u64) -> LiveBlock {
    LiveBlock { stack_hash: number, bytes: number as f64 * 2.0, objects: number as f64 / 2.0 }
}

const FIRST: usize = 0x1000;
const SECOND: usize = 0x2000;

fn shown(table: &LiveTable) -> Vec<LiveBlock> {
    let mut shown = Vec::new();
    table.for_each(&mut |block| shown.push(block));
    shown
}

#[test]
fn a_block_is_shown_whole_or_not_at_all_while_another_takes_its_place() {
    loom::model(|| {
        let table = Arc::new(LiveTable::new());
        let owner = thread::spawn({
            let table = Arc::clone(&table);
            move || {
                assert!(table.insert(FIRST, block(1)));
                assert!(table.remove(FIRST));
                assert!(table.insert(SECOND, block(2)));
            }
        });
        for seen in shown(&table) {
            assert!([block(1), block(2)].contains(&seen), "{seen:?} was never put in");
        }
        owner.join().unwrap();
        assert_eq!(shown(&table), [block(2)]);
    });
}

#[test]
fn a_block_is_shown_whole_or_not_at_all_while_another_takes_its_very_address() {
    loom::model(|| {
        let table = Arc::new(LiveTable::new());
        let owner = thread::spawn({
            let table = Arc::clone(&table);
            move || {
                assert!(table.insert(FIRST, block(1)) && table.remove(FIRST) && table.insert(FIRST, block(2)));
            }
        });
        for seen in shown(&table) {
            assert!([block(1), block(2)].contains(&seen), "{seen:?} was never put in");
        }
        owner.join().unwrap();
    });
}

#[test]
fn two_threads_that_want_the_last_entry_get_it_once() {
    loom::model(|| {
        let table = Arc::new(LiveTable::new());
        let rival = thread::spawn({
            let table = Arc::clone(&table);
            move || table.insert(FIRST, block(1))
        });
        let mine = table.insert(SECOND, block(2));
        let theirs = rival.join().unwrap();
        assert!(mine != theirs, "one of them has it: {mine}, {theirs}");
        let (held, other) = if mine { (SECOND, FIRST) } else { (FIRST, SECOND) };
        assert_eq!(table.get(held), Some(block(if mine { 2 } else { 1 })));
        assert!(!table.remove(other) && table.remove(held));
        assert!(shown(&table).is_empty());
    });
}

#[test]
fn whoever_frees_a_block_finds_it_however_busy_its_page_is() {
    loom::model(|| {
        let table = Arc::new(LiveTable::new());
        assert!(table.insert(FIRST, block(1)));
        // The entry is taken, so this one may come and go only once that is free.
        let neighbour = thread::spawn({
            let table = Arc::clone(&table);
            move || table.insert(SECOND, block(2)) && table.remove(SECOND)
        });
        let heir = thread::spawn({
            let table = Arc::clone(&table);
            move || table.may_hold(FIRST) && table.get(FIRST) == Some(block(1)) && table.remove(FIRST)
        });
        assert!(heir.join().unwrap(), "another thread frees it");
        neighbour.join().unwrap();
        assert!(shown(&table).is_empty());
        assert!(table.insert(SECOND, block(3)), "and its place is free again");
    });
}
