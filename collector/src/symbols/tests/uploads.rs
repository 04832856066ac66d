//! Files on their way: held to what they announced, and to what they may take of disk and time.

use super::*;
use crate::store::testing::options;
use crate::store::{Options, Store};
use crate::symbols::places::{Place, PlaceError};

#[test]
fn an_upload_is_held_to_what_it_announced() {
    let (data, symbols) = open();
    let id = BuildId::from_bytes(&[7; 20]).unwrap();
    let mut upload = symbols.begin(id, 10).unwrap();
    assert!(matches!(symbols.begin(id, 10), Err(UploadError::Busy(busy)) if busy == id), "one at a time");
    upload.chunk(&compress(&[1; 6]).unwrap()).unwrap();
    let longer = upload.chunk(&compress(&[1; 6]).unwrap());
    assert!(matches!(longer, Err(UploadError::WrongLength { announced: 10, received: 12 })));
    let bomb = upload.chunk(&compress(&vec![0; SYMBOL_CHUNK_BYTES_MAX + 1]).unwrap());
    assert!(matches!(bomb, Err(UploadError::Chunk(_))));
    assert!(matches!(upload.chunk(b"not zstd"), Err(UploadError::Chunk(_))));
    assert!(matches!(upload.finish(), Err(UploadError::WrongLength { announced: 10, received: 6 })));
    assert!(symbols.begin(id, 10).is_ok(), "the place is free again");
    assert_eq!(fs::read_dir(data.path().join("symbols/incoming")).unwrap().count(), 0, "nothing is left behind");
}

#[test]
fn zeros_make_holes_and_keep_their_length() {
    let (_data, symbols) = open();
    let id = BuildId::from_bytes(&[7; 20]).unwrap();
    let megabytes = 64;
    let mut upload = symbols.begin(id, megabytes << 20).unwrap();
    let zeros = compress(&vec![0; 1 << 20]).unwrap();
    for _ in 0..megabytes {
        upload.chunk(&zeros).unwrap();
    }
    assert!(matches!(upload.finish(), Err(UploadError::Identity(reason)) if reason.contains("not a 64-bit")));
}

/// What a file takes of the disk, bytes.
fn on_disk(data: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let files = fs::read_dir(data.join("symbols/incoming")).unwrap();
    files.map(|file| file.unwrap().metadata().unwrap().blocks() * 512).sum()
}

#[test]
fn what_is_small_on_the_way_is_small_on_the_disk() {
    let (data, symbols) = open();
    let id = BuildId::from_bytes(&[7; 20]).unwrap();
    let mut upload = symbols.begin(id, 300 << 20).unwrap();
    let chunk = compress(&vec![1; SYMBOL_CHUNK_BYTES_MAX]).unwrap();
    let refused = (0..300).find_map(|_| upload.chunk(&chunk).err()).expect("a bomb is refused");
    assert!(matches!(refused, UploadError::Bomb { .. }), "{refused}");
    assert!(on_disk(data.path()) <= 4 << 20, "{}", on_disk(data.path()));
    drop(upload);
    // One byte in every block is no hole; a block without one is.
    let mut upload = symbols.begin(id, 8 << 20).unwrap();
    let mut thin = vec![0; SYMBOL_CHUNK_BYTES_MAX];
    thin[5] = 1;
    upload.chunk(&compress(&thin).unwrap()).unwrap();
    upload.chunk(&compress(&[0, 0, 7]).unwrap()).unwrap();
    upload.chunk(&compress(&thin).unwrap()).unwrap();
    assert!(on_disk(data.path()) <= 64 << 10, "{}", on_disk(data.path()));
}

#[test]
fn bytes_come_to_lie_where_they_belong_however_they_are_cut() {
    let content: Vec<u8> = (0..40_000u32).map(|i| if i / 5000 % 2 == 0 { 0 } else { (i % 251) as u8 }).collect();
    for piece in [1, 7, 4095, 4096, 4097, 40_000] {
        let (data, symbols) = open();
        let id = BuildId::from_bytes(&[7; 20]).unwrap();
        let mut receiving = symbols.receive(id, content.len() as u64).unwrap();
        content.chunks(piece).for_each(|part| receiving.write(part).unwrap());
        let file = fs::read_dir(data.path().join("symbols/incoming")).unwrap().next().unwrap().unwrap();
        let there = fs::read(file.path()).unwrap();
        let (came, hole) = content.split_at(there.len());
        assert!(there == came && hole.iter().all(|byte| *byte == 0), "in pieces of {piece}");
    }
}

#[tokio::test]
async fn symbols_leave_to_windows_what_the_disk_has_left() {
    let data = tempfile::tempdir().unwrap();
    // Windows still go in: the disk has what they need, but not twice as much.
    let about = rustix::fs::statvfs(data.path()).unwrap();
    let needed = about.f_bavail * about.f_frsize / 4 * 3;
    let store = Store::open(data.path(), Options { free_bytes_min: needed, ..options() }).await.unwrap();
    let symbols = Symbols::beside(&store, test_worker()).unwrap();
    store.check_room().unwrap();
    let id = BuildId::from_bytes(&[7; 20]).unwrap();
    assert!(matches!(symbols.begin(id, 1), Err(UploadError::Disk(_))));
    assert!(matches!(symbols.receive(id, 1), Err(UploadError::Disk(_))));
    assert!(symbols.wanted(&[module(id, "basket")]).is_empty(), "no agent sends in vain");
    let told = store.conditions().all();
    assert_eq!(told[0].kind, "symbols_no_room");
    assert!(told[0].message.contains("free some space"), "{}", told[0].message);
}

#[tokio::test(start_paused = true)]
async fn two_that_dribble_do_not_keep_others_out() {
    let (_data, symbols) = open();
    let dribbling: Vec<Place> = std::iter::from_fn(|| symbols.shared.places.take().ok()).collect();
    assert!(dribbling.len() >= 2);
    let id = BuildId::from_bytes(&[7; 20]).unwrap();
    assert!(matches!(symbols.receive(id, 1), Err(UploadError::Place(PlaceError::NoRoom))));
    tokio::time::advance(Duration::from_secs(10)).await;
    let receiving = symbols.receive(id, 1).unwrap();
    receiving.next(std::future::ready(())).await.unwrap();
}
