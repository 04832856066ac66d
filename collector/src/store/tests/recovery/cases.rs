//! Five hundred folders in which something was lost, exchanged or put back from an earlier moment. They are started, and repaired where
//! they will not start: what was acked and is still on the disk is answered, once, and no byte is ever removed.

use std::collections::{BTreeMap, BTreeSet};

use tempfile::TempDir;

use super::*;
use crate::base::range::TimeRange;
use crate::store::bench_data::Random;
use crate::store::catalog::LevelSegment;
use crate::store::columnar::Table;
use crate::store::place::Place;
use crate::store::repair::repair;
use crate::store::retain;
use crate::store::segment;

/// Windows of a story. Each counts as a bit of its own, with a bit between two that shows what is counted twice.
const WINDOWS: u64 = 10;

/// A service whose windows are deleted in the middle of a story; the others are of `shop`.
const DELETED: &str = "pay";

fn is_of_deleted(number: u64) -> bool {
    number % 5 == 4
}

fn story_window(number: u64) -> TestWindow {
    let service = if is_of_deleted(number) { DELETED } else { "shop" };
    let start_ms = now_ms() / HOUR * HOUR - 3 * HOUR + (number % 2) * HOUR + number * 10_000;
    TestWindow::new(service, 1 + (number % 2) as u8, 1 + number / 2, start_ms)
        .cpu(&[row(&format!("main;w{number}"), 1 << (2 * number))])
}

/// A moment of a story: a copy of the folder.
struct Moment {
    dir: TempDir,
    /// Windows acked so far.
    acked: u64,
    /// Windows that were deleted so far.
    deleted: BTreeSet<u64>,
}

/// What happened in a folder, moment by moment.
struct Story {
    moments: Vec<Moment>,
    /// Whatever was ever listed, by id.
    segments: BTreeMap<String, Known>,
}

/// What was found in a segment.
struct Known {
    windows: BTreeSet<u64>,
    /// Its objects without the footer.
    objects: Vec<String>,
    /// Its footer, where that is another object.
    footer: Option<String>,
}

impl Story {
    async fn tell(seed: u64) -> Self {
        let dir = folder();
        let mut random = Random(seed);
        let mut story = Self { moments: Vec::new(), segments: BTreeMap::new() };
        let (mut acked, mut deleted) = (0, BTreeSet::new());
        let deletes_after = 4 + random.next() % 4;
        while acked < WINDOWS {
            let shop = Shop::open(dir.path()).await.unwrap();
            for _ in 0..=random.next() % 3 {
                if acked < WINDOWS {
                    assert!(!shop.ingest.push(story_window(acked).request()).await.unwrap().duplicate);
                    acked += 1;
                }
            }
            story.learn(&shop.store).await;
            if acked > deletes_after && deleted.is_empty() {
                shop.store.delete_service(DELETED, now_ms()).await.unwrap();
                deleted = (0..acked).filter(|number| is_of_deleted(*number)).collect();
            }
            for _ in 0..random.next() % 4 {
                shop.compact(Some(1)).await;
                story.learn(&shop.store).await;
            }
            if random.next().is_multiple_of(2) {
                let _ = remove_dropped(&shop.store).await;
            }
            shop.close().await;
            let copied = folder();
            copy(dir.path(), copied.path());
            story.moments.push(Moment { dir: copied, acked, deleted: deleted.clone() });
        }
        story
    }

    /// Reads which windows the listed segments hold.
    async fn learn(&mut self, store: &Arc<Store>) {
        for listed in store.catalog().levels_in(TimeRange::ALL, false).await.unwrap() {
            if self.segments.contains_key(&listed.segment.id) || listed.segment.level == 10 {
                continue;
            }
            let id = listed.segment.id.clone();
            let windows = windows_of(store, &listed);
            let known = match listed.segment.level {
                0 => Known { windows, objects: vec![id.clone()], footer: None },
                _ => {
                    let objects = listed.tables.iter().map(|table| table.object.clone());
                    let objects = objects.filter(|object| *object != id).collect();
                    Known { windows, objects, footer: Some(id.clone()) }
                }
            };
            self.segments.insert(id, known);
        }
    }

    /// Windows that are on the disk, as far as they are acked and not deleted at this moment. A segment needs its footer where no catalog
    /// lists it.
    fn on_disk(&self, moment: &Moment, data: &Path, footers: bool) -> BTreeSet<u64> {
        let there: BTreeSet<String> = contents(data)
            .into_iter()
            .map(|(path, _)| path.file_name().unwrap().to_str().unwrap().to_owned())
            .collect();
        let whole = self.segments.values().filter(|known| {
            let footer = known.footer.iter().filter(|_| footers);
            known.objects.iter().chain(footer).all(|object| there.contains(object))
        });
        whole
            .flat_map(|known| &known.windows)
            .copied()
            .filter(|number| *number < moment.acked && !moment.deleted.contains(number))
            .collect()
    }
}

/// As retention does it ten minutes later.
async fn remove_dropped(store: &Arc<Store>) {
    for id in store.catalog().dropped(u64::MAX >> 2).await.unwrap() {
        for object in store.catalog().objects_of(&id).await.unwrap() {
            store.bulk().delete(&object).unwrap();
        }
        store.catalog().forget(&id).await.unwrap();
    }
}

fn windows_of(store: &Store, listed: &LevelSegment) -> BTreeSet<u64> {
    let mut sum = 0;
    if listed.segment.level == 0 {
        let footer = store.footer(&listed.segment).unwrap().unwrap();
        sum = footer.windows.iter().flat_map(|info| &info.types).map(|total: &segment::TypeSum| total.total).sum();
    } else if let Some(columnar) = store.columnar(listed, &Table::ALL).unwrap() {
        for part in 0..columnar.services().len() {
            for group in columnar.sample_groups(store.bulk().as_ref(), part, "cpu") {
                let columns = columnar.samples(store.bulk().as_ref(), group.group, false).unwrap();
                sum += columns.values.iter().sum::<i64>() as u64;
            }
        }
    }
    numbers(sum)
}

/// Which windows a sum is made of. Panics where one is counted twice.
fn numbers(sum: u64) -> BTreeSet<u64> {
    let twice = 0xaaaa_aaaa_aaaa_aaaa;
    assert_eq!(sum & twice, 0, "{sum:b}: counted twice");
    (0..32).filter(|number| sum & 1 << (2 * number) != 0).collect()
}

async fn answered(store: &Arc<Store>) -> BTreeSet<u64> {
    let mut all = BTreeSet::new();
    for service in ["shop", DELETED] {
        let selection = Selection::everything(service, "cpu");
        match QueryEngine::new(store.clone(), QueryLimits::default()).merge(&selection).await {
            Ok(merged) => all.extend(numbers(merged.total())),
            Err(QueryError::UnknownService { .. }) => {}
            Err(other) => panic!("{other}"),
        }
    }
    all
}

/// One folder in which something went wrong.
async fn case(seed: u64, stories: &[Story]) {
    let mut random = Random(seed ^ 0xca5e);
    let mut pick = |n: usize| (random.next() % n.max(1) as u64) as usize;
    let story = &stories[pick(stories.len())];
    let at = 1 + pick(story.moments.len() - 1);
    let moment = &story.moments[at];
    let dir = folder();
    let data = dir.path();
    copy(moment.dir.path(), data);
    // What the catalog that is put there had forgotten, or had had deleted.
    let mut theirs = moment;
    let catalog = match pick(5) {
        0 => "kept",
        1 => {
            fs::remove_file(data.join("catalog.sqlite")).unwrap();
            "deleted"
        }
        2 => {
            let other = stories.iter().find(|other| !std::ptr::eq(*other, story)).unwrap();
            exchange_catalog(other.moments[pick(other.moments.len())].dir.path(), data);
            "another store's"
        }
        3 => {
            theirs = &story.moments[pick(story.moments.len())];
            exchange_catalog(theirs.dir.path(), data);
            "of another moment"
        }
        _ => {
            theirs = &story.moments[pick(at)];
            exchange_catalog(theirs.dir.path(), data);
            "older"
        }
    };
    let mut lost = 0;
    if pick(3) == 0 {
        for _ in 0..=pick(3) {
            let files: Vec<PathBuf> = contents(data).into_iter().map(|(path, _)| path).collect();
            if let Some(file) = files.get(pick(files.len())).filter(|file| file.extension().is_none()) {
                fs::remove_file(file).unwrap();
                lost += 1;
            }
        }
    }
    let said = format!("case {seed}: moment {at}, catalog {catalog}, {lost} objects lost");
    let before = bytes(data);
    let expected = story.on_disk(moment, data, true);
    let listable = story.on_disk(moment, data, false);

    // A start that is refused changes nothing; what it is told to do is a repair, which is also done unasked.
    let mut started = if pick(3) == 0 { None } else { open(data).await.ok() };
    // A catalog that is newer than the objects misses some too.
    let is_damaged = lost > 0 || theirs.acked > moment.acked;
    let repaired = started.is_none() || is_damaged;
    if let Some(shop) = started.take_if(|_| is_damaged) {
        // Of what is lost at one level another one may have a copy, which only a repair puts in its place.
        let found = answered(&shop.store).await;
        assert!(found.is_subset(&listable), "{said}: {found:?} of {listable:?}");
        shop.close().await;
    } else if started.is_none() {
        assert!(bytes(data) == before, "{said}: a refused start changed something");
    }
    let shop = match started {
        Some(shop) => shop,
        None => {
            match repair(&Place::Folder(data.to_owned())).await {
                // Of what is left nothing says what it is.
                Err(error) if expected.is_empty() && error.to_string().contains("no segment here") => return,
                repaired => drop(repaired.unwrap_or_else(|error| panic!("{said}: {error}"))),
            }
            open(data).await.unwrap_or_else(|error| panic!("{said}: after repair: {error}"))
        }
    };
    let mut expected = expected;
    if !repaired {
        expected.retain(|number| !theirs.deleted.contains(number));
    }
    let found = answered(&shop.store).await;
    let said = format!("{said}, repaired: {repaired}");
    assert_eq!(found, expected, "{said}");
    let after = bytes(data);
    assert!(before.iter().all(|content| after.binary_search(content).is_ok()), "{said}: something was removed");
    if seed.is_multiple_of(3) {
        // What was replaced goes now, and nothing else.
        retain::round(&shop.store, now_ms() + HOUR / 4).await.unwrap();
        assert_eq!(answered(&shop.store).await, expected, "{said}, ten minutes later");
    }

    if !seed.is_multiple_of(5) {
        shop.close().await;
        return;
    }
    // Everything comes again: what is known is recognised, and nothing counts twice.
    let pushes: Vec<_> = (0..moment.acked).map(|number| shop.ingest.push(story_window(number).request())).collect();
    let pushed = futures_util::future::join_all(pushes).await;
    for (number, pushed) in (0..).zip(pushed) {
        let duplicate = pushed.unwrap().duplicate;
        assert!(duplicate || !expected.contains(&number), "{said}: window {number} was not recognised");
    }
    assert!(answered(&shop.store).await.is_superset(&expected), "{said}");
    shop.compact(Some(2)).await;
    assert!(answered(&shop.store).await.is_superset(&expected), "{said}");
    shop.close().await;
}

async fn open(data: &Path) -> Result<Shop, StoreError> {
    Shop::open_with(data, Options { batch_time: Duration::from_millis(20), ..options() }).await
}

async fn cases(seeds: std::ops::Range<u64>) {
    let mut stories = Vec::new();
    for seed in 0..3 {
        stories.push(Story::tell(seed + 10 * (seeds.start / 125)).await);
    }
    for seed in seeds {
        case(seed, &stories).await;
    }
}

#[tokio::test]
async fn five_hundred_catalogs_that_do_not_fit_cost_no_window_part_1() {
    cases(0..125).await;
}

#[tokio::test]
async fn five_hundred_catalogs_that_do_not_fit_cost_no_window_part_2() {
    cases(125..250).await;
}

#[tokio::test]
async fn five_hundred_catalogs_that_do_not_fit_cost_no_window_part_3() {
    cases(250..375).await;
}

#[tokio::test]
async fn five_hundred_catalogs_that_do_not_fit_cost_no_window_part_4() {
    cases(375..500).await;
}
