//! Power cuts, full disks and failing ones, at every single operation: what was acked is there afterwards, once, and nothing is torn.

mod anywhere;
mod life;
mod model;
mod shared;
mod vfs;

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use crate::store::bulk::{Bulk, BulkError, Folder};
use model::{Fault, ModelDisk};

const ERRORS: [Fault; 4] = [
    Fault::Error(ErrorKind::Other),
    Fault::Half(ErrorKind::Other),
    Fault::Error(ErrorKind::StorageFull),
    Fault::Half(ErrorKind::StorageFull),
];

/// Different outcomes of one power cut.
const SEEDS: u64 = 8;

fn name(number: u8) -> String {
    format!("{number:032x}")
}

/// Some sectors, that tell by themselves whether they are whole.
fn content(number: u8) -> Vec<u8> {
    vec![number; 500 + usize::from(number)]
}

/// Three objects are written, one of them is removed, one set aside. Answers what became of each put.
fn write_some(folder: &Folder) -> BTreeMap<u8, Result<(), BulkError>> {
    let mut done = BTreeMap::new();
    for number in [1, 2, 3] {
        done.insert(number, folder.put(&name(number), &content(number)));
    }
    if folder.delete(&name(2)).is_ok() && folder.quarantine(&name(3)).is_ok() {
        done.insert(4, folder.put(&name(4), &content(4)));
    }
    done
}

#[test]
fn an_object_is_whole_or_not_there_whatever_fails_wherever() {
    let path = Path::new("/segments");
    let all = {
        let disk = ModelDisk::default();
        write_some(&Folder::open_on(Arc::new(disk.clone()), path).unwrap());
        disk.operations().len()
    };
    assert!(all > 20, "{all}");
    let faults = ERRORS.into_iter().chain([Fault::PowerCut]);
    for (at, fault) in (0..all).flat_map(|at| faults.clone().map(move |fault| (at, fault))) {
        let disk = ModelDisk::default();
        let folder = Folder::open_on(Arc::new(disk.clone()), path).unwrap();
        disk.fail(at, fault);
        let done = write_some(&folder);
        for seed in 0..SEEDS {
            let case = format!("{fault:?} at operation {at}, outcome {seed}");
            let after = Folder::open_on(Arc::new(disk.after_power_cut(seed)), path).unwrap();
            for object in after.list().unwrap() {
                let number = u8::from_str_radix(&object.name, 16).unwrap();
                assert_eq!(after.get_range(&object.name, 0, 10_000).unwrap(), content(number), "{case}: torn");
            }
            // The others were taken away again, so a power cut may bring them back, whole, or not.
            for number in [1, 4] {
                if done.get(&number).is_some_and(Result::is_ok) {
                    let found = after.get_range(&name(number), 0, 10_000);
                    assert_eq!(found.ok(), Some(content(number)), "{case}: {number} is lost");
                }
            }
        }
    }
}
